resource "juju_application" "ckf_airgap" {
  name       = var.app_name
  model_uuid = var.model_uuid

  dynamic "charm" {
    for_each = var.charm_path == null ? [var.channel] : []

    content {
      name     = "ckf-airgap"
      base     = var.base
      channel  = charm.value
      revision = var.revision
    }
  }

  dynamic "local_charm" {
    for_each = var.charm_path == null ? [] : [var.charm_path]

    content {
      name = "ckf-airgap"
      base = var.base
      path = local_charm.value
    }
  }

  config             = var.config
  constraints        = var.constraints
  resources          = var.resources
  storage_directives = var.storage_directives
  trust              = var.trust
  units              = var.units
}
