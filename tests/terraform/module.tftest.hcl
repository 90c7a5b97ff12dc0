mock_provider "juju" {}

variables {
  model_uuid = "0f4a5b1c-0000-4000-8000-000000000001"
}

run "charmhub_without_charm_path" {
  command = plan

  assert {
    condition     = juju_application.ckf_airgap.charm[0].channel == "latest/edge"
    error_message = "The channel comes from its variable."
  }

  assert {
    condition     = length(juju_application.ckf_airgap.local_charm) == 0
    error_message = "Charmhub and a file exclude each other."
  }

  assert {
    condition     = juju_application.ckf_airgap.trust && juju_application.ckf_airgap.units == 1
    error_message = "One trusted unit is deployed."
  }
}

run "file_with_charm_path" {
  command = plan

  variables {
    app_name           = "airgap"
    charm_path         = "./ckf-airgap_amd64.charm"
    config             = { registry = "registry.corp:5000/ckf" }
    storage_directives = { artifacts = "200G" }
  }

  assert {
    condition     = juju_application.ckf_airgap.local_charm[0].path == "./ckf-airgap_amd64.charm"
    error_message = "The file is deployed."
  }

  assert {
    condition     = length(juju_application.ckf_airgap.charm) == 0
    error_message = "Charmhub and a file exclude each other."
  }

  assert {
    condition     = output.app_name == "airgap" && juju_application.ckf_airgap.config["registry"] == "registry.corp:5000/ckf"
    error_message = "Name and options reach the application."
  }
}

run "no_revision_of_a_file" {
  command = plan

  variables {
    charm_path = "./ckf-airgap_amd64.charm"
    revision   = 7
  }

  expect_failures = [var.charm_path]
}

run "no_other_file" {
  command = plan

  variables {
    charm_path = "./ckf-airgap.zip"
  }

  expect_failures = [var.charm_path]
}
