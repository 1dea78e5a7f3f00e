#!/usr/bin/env bash
# Four pushers, mounts, deletions and collections without any grace, on Seawall and on docker-registry side by side.
# What is done and checked is in e2e/torture.
source "$(dirname "${BASH_SOURCE[0]}")/kit.sh"

torture
finish
