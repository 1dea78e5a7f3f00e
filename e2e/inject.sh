#!/usr/bin/env bash
# Single system calls of the server fail: write, fsync, rename, open and read, with EIO and ENOSPC.
# What is done and checked is in e2e/torture.
source "$(dirname "${BASH_SOURCE[0]}")/kit.sh"

torture
finish
