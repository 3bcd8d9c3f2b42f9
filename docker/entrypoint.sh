#!/usr/bin/env bash
# Sources the image's ROS 2, then runs the dialtone command.
set -eo pipefail
# shellcheck disable=SC1090
source "/opt/ros/${ROS_DISTRO:?the base image sets it}/setup.bash"
exec /dialtone/dialtone "$@"
