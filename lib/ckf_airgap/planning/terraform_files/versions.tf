terraform {
  required_version = ">= 1.6"

  required_providers {
    juju = {
      source = "juju/juju"
      # 2.3 is the first version that supports local charms.
      version = ">= 2.3, < 3.0"
    }
  }
}
