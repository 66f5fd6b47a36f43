# The base image by Packer, for those who make all their images with it. Same scripts, same result as
# create-base-image.sh.
#
#   packer init vm-image
#   packer build vm-image/tartbeat.pkr.hcl
#
# It leaves the VM shut down; the last step then boots it once more, verifies it with the key, as the agent
# will see it, and takes the snapshot. An existing snapshot is never replaced.

packer {
  required_plugins {
    tart = {
      source  = "github.com/cirruslabs/tart"
      version = ">= 1.16.0"
    }
  }
}

variable "vm_name" {
  type        = string
  default     = "expo-build-vm"
  description = "vmName of the agent's config. The snapshot gets this name with -base-snapshot."
}

variable "vm_base_name" {
  type        = string
  default     = "ghcr.io/cirruslabs/macos-tahoe-xcode:latest"
  description = "Image to begin with. It has to hold Xcode."
}

variable "ssh_username" {
  type    = string
  default = "admin"
}

variable "ssh_password" {
  type      = string
  default   = "admin"
  sensitive = true
}

variable "private_key_file" {
  type        = string
  default     = "~/.ssh/tart_vm_key"
  description = "Key of the agent; its public part stands beside it, with .pub."
}

variable "cpu_count" {
  type        = number
  default     = 4
  description = "Guests with fewer than 4 freeze."
}

variable "memory_gb" {
  type    = number
  default = 8
}

source "tart-cli" "tartbeat" {
  vm_base_name = var.vm_base_name
  vm_name      = var.vm_name
  cpu_count    = var.cpu_count
  memory_gb    = var.memory_gb
  headless     = true
  ssh_username = var.ssh_username
  ssh_password = var.ssh_password
  ssh_timeout  = "300s"
}

build {
  sources = ["source.tart-cli.tartbeat"]

  provisioner "shell" {
    inline = ["mkdir -p /private/tmp/tartbeat-image"]
  }

  provisioner "file" {
    source      = "${path.root}/"
    destination = "/private/tmp/tartbeat-image"
  }

  provisioner "file" {
    source      = "${pathexpand(var.private_key_file)}.pub"
    destination = "/private/tmp/tartbeat-image/agent.pub"
  }

  provisioner "shell" {
    environment_vars = ["TARTBEAT_VM_PASSWORD=${var.ssh_password}", "TARTBEAT_USER=${var.ssh_username}"]
    inline = [
      "printf '%s\\n' \"$TARTBEAT_VM_PASSWORD\" | sudo -S -p '' sh /private/tmp/tartbeat-image/provision.sh --user \"$TARTBEAT_USER\" --key-file /private/tmp/tartbeat-image/agent.pub",
      "rm -rf /private/tmp/tartbeat-image",
    ]
    timeout = "3h"
  }

  post-processor "shell-local" {
    environment_vars = ["TARTBEAT_VM_PASSWORD=${var.ssh_password}"]
    inline = [
      "sh \"${path.root}/create-base-image.sh\" \"${var.vm_name}\" --user \"${var.ssh_username}\" --key \"${pathexpand(var.private_key_file)}\"",
    ]
  }
}
