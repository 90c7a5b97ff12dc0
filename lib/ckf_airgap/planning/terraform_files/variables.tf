variable "charms" {
  description = "Directory into which charms.tar.gz was unpacked. A relative path starts at the directory in which Terraform runs."
  type        = string
  default     = "charms"
  nullable    = false
}

variable "model_uuid" {
  description = "UUID of the model to deploy to. It must exist and have the name of the plan's model."
  type        = string
  nullable    = false
}

variable "registry_account" {
  description = "Account that pulls the images of the charms; null if the registry needs none. Terraform's state contains it."
  type = object({
    username = string
    password = string
  })
  default   = null
  sensitive = true
}
