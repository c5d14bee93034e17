#!/usr/bin/env bash
# A model, keys and certificates, a run, its recording, and the audit of it.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "${OUT:-$here/out}" && cd "${OUT:-$here/out}"
cp "$here/pipeline.yaml" .
python "$here/make_model.py"

authority="--registry registry --authority keys/authority.pem"
og-ros keys generate keys/authority.pem
og-ros keys generate keys/brake.pem
og-ros registry init registry --authority keys/authority.pem --name my-fleet
og-ros keys certify keys/brake.pem.pub $authority --robot my-robot --stage brake
og-ros registry add-model brake.onnx $authority --name brake --version 1.0.0 --stage brake

og-ros run pipeline.yaml --record run1 &
python "$here/../fake_scan.py" /front/scan "${SECONDS_TO_RUN:-5}" 3    # stage, auditor, recorder
sleep 1
kill %1 && wait %1

og-ros audit run1 --registry registry
