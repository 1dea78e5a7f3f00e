#!/usr/bin/env bash
# Power cuts of a live file system, and the proof that the test would see a flush that does nothing.
# What is done and checked is in e2e/torture.
source "$(dirname "${BASH_SOURCE[0]}")/kit.sh"

torture
finish
