#!/usr/bin/env bash
# kill -9 in the middle of pushes, mirror fills, collections and migrations, and beside 100,000 blobs.
# What is done and checked is in e2e/torture.
source "$(dirname "${BASH_SOURCE[0]}")/kit.sh"

torture
finish
