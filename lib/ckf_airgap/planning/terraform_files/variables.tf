variable "charms" {
  description = "Directory into which charms.tar.gz was unpacked. A relative one is below the directory in which Terraform runs."
  type        = string
  default     = "charms"
  nullable    = false
}

variable "model_uuid" {
  description = "UUID of the model to deploy to, which must exist and have the name that the plan was made for."
  type        = string
  nullable    = false
}

variable "registry_account" {
  description = "Account to pull the images of the charms with; null for a registry that needs none. It gets into Terraform's state."
  type = object({
    username = string
    password = string
  })
  default   = null
  sensitive = true
}
