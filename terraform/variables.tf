variable "app_name" {
  description = "Name of the application."
  type        = string
  default     = "ckf-airgap"
  nullable    = false
}

variable "base" {
  description = "Base to deploy on; null for the charm's own."
  type        = string
  default     = null
}

variable "channel" {
  description = "Channel on Charmhub. Not used with charm_path."
  type        = string
  default     = "latest/edge"
  nullable    = false
}

variable "charm_path" {
  description = "Packed charm (.charm) to deploy, for a controller that does not reach Charmhub; null to deploy from Charmhub."
  type        = string
  default     = null

  validation {
    condition     = var.charm_path == null ? true : endswith(var.charm_path, ".charm")
    error_message = "charm_path must name a .charm file."
  }

  validation {
    condition     = var.charm_path == null || var.revision == null
    error_message = "revision is one of Charmhub: leave it out with charm_path."
  }
}

variable "config" {
  description = "Options of the charm, as docs/reference.md lists them; registry and juju-credentials are required for it to become ready."
  type        = map(string)
  default     = {}
  nullable    = false
}

variable "constraints" {
  description = "Constraints of the application, for example mem=2G."
  type        = string
  default     = null
}

variable "model_uuid" {
  description = "UUID of the model to deploy this charm to."
  type        = string
  nullable    = false
}

variable "resources" {
  description = "Revisions of the resources on Charmhub. The provider cannot upload files: see the README."
  type        = map(string)
  default     = {}
  nullable    = false
}

variable "revision" {
  description = "Revision on Charmhub; null for the newest of the channel."
  type        = number
  default     = null
}

variable "storage_directives" {
  description = "Storage, for example { artifacts = \"200G\" } for a volume for the archives."
  type        = map(string)
  default     = {}
  nullable    = false
}

variable "trust" {
  description = "Whether the charm may read the cluster; without it, verify and a part of preflight fail."
  type        = bool
  default     = true
  nullable    = false
}

variable "units" {
  description = "Number of units. One does all the work; more make it not faster."
  type        = number
  default     = 1
  nullable    = false
}
