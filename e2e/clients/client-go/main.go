// The program uses one workspace as controllers written with client-go do, and says which of
// its ways of working went through. Start at scenarios: each row is a name and a function over
// a fresh namespace. It knows nothing of Hanse: the same program runs against any Kubernetes.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// How long one scenario may take, on a machine that is busy with other things.
const scenarioTimeMax = 60 * time.Second

// What a scenario works with: a namespace of its own, and how to reach the workspace.
type bench struct {
	config    *rest.Config
	client    kubernetes.Interface
	namespace string
}

var scenarios = []struct {
	name string
	run  func(context.Context, *bench) error
}{
	{"discovery", discover},
	{"discovery-on-disk", discoverOnDisk},
	{"openapi", readOpenAPI},
	{"informers", followWithInformers},
	{"informers-streamed", followStreamed},
	{"dynamic-informers", followDynamically},
	{"metadata-informers", followMetadata},
	{"retry-watcher", rewatch},
	{"server-side-apply", applyFromServer},
	{"typed-patches", patchTyped},
	{"paging", page},
	{"conflicts", retryConflicts},
	{"scale", scale},
	{"leader-election", elect},
	{"events", recordEvents},
	{"owners-and-finalizers", collectGarbage},
	{"tokens", useTokens},
	{"certificates", requestCertificate},
	{"protobuf-preferred", preferProtobuf},
}

func main() {
	kubeconfig := flag.String("kubeconfig", os.Getenv("KUBECONFIG"), "how to reach the workspace")
	only := flag.String("only", "", "the one scenario to run")
	flag.Parse()
	config, err := clientcmd.BuildConfigFromFlags("", *kubeconfig)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	config.QPS, config.Burst = 500, 500
	failed := 0
	for _, scenario := range scenarios {
		if *only != "" && *only != scenario.name {
			continue
		}
		started := time.Now()
		err := inNamespace(config, scenario.name, scenario.run)
		took := time.Since(started).Milliseconds()
		if err != nil {
			failed++
			fmt.Printf("FAILED %s (%d ms): %v\n", scenario.name, took, err)
			continue
		}
		fmt.Printf("ok %s (%d ms)\n", scenario.name, took)
	}
	if failed > 0 {
		os.Exit(1)
	}
}

// Runs a scenario in a namespace that is made before and deleted after it.
func inNamespace(
	config *rest.Config, name string, run func(context.Context, *bench) error,
) error {
	ctx, cancel := context.WithTimeout(context.Background(), scenarioTimeMax)
	defer cancel()
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "go-" + name}}
	namespaces := client.CoreV1().Namespaces()
	if _, err := namespaces.Create(ctx, namespace, metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("making the namespace: %w", err)
	}
	defer namespaces.Delete(context.Background(), namespace.Name, metav1.DeleteOptions{})
	return run(ctx, &bench{config: config, client: client, namespace: namespace.Name})
}

// Waits until what is asked is so; the last answer says why it never was.
func eventually(ctx context.Context, what string, is func() error) error {
	for {
		err := is()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s: %w", what, err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}
