output "app_name" {
  description = "Name of the application."
  value       = juju_application.ckf_airgap.name
}

output "application" {
  description = "The application, with everything that the provider knows of it."
  value       = juju_application.ckf_airgap
}

output "provides" {
  description = "Endpoints that other applications require: none."
  value       = {}
}

output "requires" {
  description = "Endpoints that other applications provide, all of them optional."
  value = {
    charm_tracing   = "charm-tracing"
    receive_ca_cert = "receive-ca-cert"
  }
}
