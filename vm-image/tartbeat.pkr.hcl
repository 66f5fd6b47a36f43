# Makes the base image with Packer, for people who make all their images with it. It runs the same scripts as
# create-base-image.sh and gives the same result.
#
#   packer init vm-image
#   packer build vm-image/tartbeat.pkr.hcl
#
# Packer shuts the VM down. The last step then starts the VM once more, verifies it over SSH with the agent's
# key, and makes the snapshot. An existing snapshot is never replaced.

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
  default     = "ghcr.io/cirruslabs/macos-tahoe-xcode@sha256:923c98d32e40ffadb6e6815a9722124b7a57bdf7d7763a708a2b28d1970831bd"
  description = "Image from which the VM is made, by digest. It must have Xcode. vm-image/public-images lists some."
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
  description = "Private key of the agent. Its public key must be beside it, with .pub at the end of its name."
}

variable "cpu_count" {
  type        = number
  default     = 4
  description = "CPUs of the VM. VMs with fewer than 4 freeze."
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
    environment_vars = [
      "TARTBEAT_VM_PASSWORD=${var.ssh_password}",
      "TARTBEAT_USER=${var.ssh_username}",
      "TARTBEAT_BASE_DIGEST=${try(split("@", var.vm_base_name)[1], "")}",
    ]
    inline = [
      "printf '%s\\n' \"$TARTBEAT_VM_PASSWORD\" | sudo -S -p '' sh /private/tmp/tartbeat-image/provision.sh --user \"$TARTBEAT_USER\" --key-file /private/tmp/tartbeat-image/agent.pub $${TARTBEAT_BASE_DIGEST:+--base-digest $TARTBEAT_BASE_DIGEST}",
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
