#!/usr/bin/env bash
# No byte is left under the blobs, the database or both.
# What is done and checked is in e2e/torture.
source "$(dirname "${BASH_SOURCE[0]}")/kit.sh"

torture
finish
