#!/bin/sh
# A controller in a few lines of shell: one watch over all workspaces that bind the export.
#
# An APIExport has an address at which the objects of all these workspaces are seen at once. Below
# it, /clusters/* means all of them, and /clusters/ID one: the watch uses the first, the writes go
# to the workspace that an object's annotation kcp.io/cluster names.
set -eu

url=$(kubectl get apiexportendpointslice hello -o 'jsonpath={.status.endpoints[0].url}')

kubectl --server "$url/clusters/*" get greetings --all-namespaces --watch \
    -o 'jsonpath={.metadata.annotations.kcp\.io/cluster} {.metadata.namespace} {.metadata.name} {.spec.name}{"\n"}' |
while read -r cluster namespace object name; do
    there="--server $url/clusters/$cluster --namespace $namespace"
    kubectl $there patch greeting "$object" --subresource=status --type=merge \
        -p "{\"status\": {\"text\": \"Hello, $name!\"}}"
    kubectl $there create configmap "$object" --from-literal=text="Hello, $name!" \
        --dry-run=client -o yaml | kubectl $there apply -f - || true
done
