#!/usr/bin/env bash
# Keys and certificates for brake.py, a run of it, its recording, and the audit of it.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "${OUT:-$here/out}" && cd "${OUT:-$here/out}"

echo '{"speed": 0.3, "distance": 0.4}' > brake.json
authority="--registry registry --authority keys/authority.pem"
og-ros keys generate keys/authority.pem
og-ros keys generate keys/brake.pem
og-ros registry init registry --authority keys/authority.pem --name my-fleet
og-ros keys certify keys/brake.pem.pub $authority --robot my-robot --stage planning
og-ros registry add-model brake.json $authority --name brake --version 1.0.0

python "$here/brake.py" &
og-ros record run1 --topics /scan /cmd_vel /cmd_vel/attestation &
python "$here/../fake_scan.py" /scan "${SECONDS_TO_RUN:-5}" 2    # node, recorder
sleep 0.5
kill %1 && wait %1
sleep 0.5
kill %2 && wait %2

og-ros audit run1 --registry registry
