"""Kubernetes manifests that name images."""

MANIFESTS = """
apiVersion: apps/v1
kind: Deployment
spec:
  template:
    spec:
      containers:
      - name: controller
        image: gcr.io/knative-releases/knative.dev/serving/cmd/controller@sha256:DIGEST
        imagePullPolicy: IfNotPresent
        env:
        - {name: WEBHOOK_IMAGE, value: "gcr.io/knative-releases/knative.dev/webhook:v1"}
        - {name: CONFIG, value: "config/logging"}
---
kind: ConfigMap
data:
  queue-sidecar-image: gcr.io/knative-releases/knative.dev/serving/cmd/queue:v1
""".replace("DIGEST", "a" * 64)
