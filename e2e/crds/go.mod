// Third-party APIs that nobody here wrote: the demo publishes them in a workspace and installs
// them at the sites. Only the CRD files of these modules are used; nothing of them is built, so
// there is no Go file here and `go mod tidy` must not be run (`go mod download` is enough).
module hanse.dev/e2e/crds

go 1.26

require (
	github.com/cert-manager/cert-manager v1.21.2
	sigs.k8s.io/gateway-api v1.6.3
)
