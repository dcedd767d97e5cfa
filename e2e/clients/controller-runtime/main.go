// The program is a small operator as most are written: a manager with leader election, a typed
// kind of its own, a reconciler that owns ConfigMaps, keeps a finalizer and reports a status. It
// makes its CRD, drives objects through their life, and says which steps went through. It knows
// nothing of Hanse. Start at steps; the reconciler is in operator.go.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	applycorev1 "k8s.io/client-go/applyconfigurations/core/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"
)

// How long all steps may take, on a machine that is busy with other things.
const timeMax = 120 * time.Second

var steps = []struct {
	name string
	run  func(context.Context, client.Client) error
}{
	{"installs-its-kind", install},
	{"reconciles", reconciles},
	{"repairs-what-it-owns", repairs},
	{"follows-its-kind", follows},
	{"applies", applies},
	{"lists-by-field-and-label", lists},
	{"cleans-up", cleans},
}

func main() {
	// The library brings the flag -kubeconfig.
	flag.Parse()
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	ctx, cancel := context.WithTimeout(context.Background(), timeMax)
	defer cancel()
	log.SetLogger(logr.Discard())
	config, err := ctrl.GetConfig()
	if err != nil {
		return err
	}
	direct, err := client.New(config, client.Options{Scheme: scheme})
	if err != nil {
		return err
	}
	failed := 0
	for at, step := range steps {
		if at == 1 {
			manager, err := start(ctx, config)
			if err != nil {
				return fmt.Errorf("the manager: %w", err)
			}
			// From here on reads come from the manager's informers.
			direct = manager.GetClient()
		}
		if err := step.run(ctx, direct); err != nil {
			failed++
			fmt.Printf("FAILED %s: %v\n", step.name, err)
			continue
		}
		fmt.Printf("ok %s\n", step.name)
	}
	if failed > 0 {
		return fmt.Errorf("%d steps failed", failed)
	}
	return nil
}

func options() ctrl.Options {
	return ctrl.Options{
		Scheme: scheme, Metrics: server.Options{BindAddress: "0"},
		LeaderElection: true, LeaderElectionID: "greetings", LeaderElectionNamespace: "default",
	}
}

func newGreeting(name string) *Greeting {
	return &Greeting{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name},
		Spec:       GreetingSpec{Text: "hello", Copies: 2},
	}
}

func eventually(ctx context.Context, is func() error) error {
	for {
		err := is()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func copies(ctx context.Context, c client.Client, name string, count int, text string) error {
	return eventually(ctx, func() error {
		greeting := &Greeting{}
		if err := c.Get(ctx, client.ObjectKeyFromObject(newGreeting(name)), greeting); err != nil {
			return err
		}
		ready := meta.IsStatusConditionTrue(greeting.Status.Conditions, "Ready")
		var maps corev1.ConfigMapList
		of := client.MatchingLabels{ownerLabel: name}
		if err := c.List(ctx, &maps, client.InNamespace("default"), of); err != nil {
			return err
		}
		for _, object := range maps.Items {
			ready = ready && object.Data["text"] == text && metav1.IsControlledBy(&object, greeting)
		}
		current := greeting.Status.ObservedGeneration == greeting.Generation
		if !ready || !current || len(maps.Items) != count {
			return fmt.Errorf("%d copies, status %+v", len(maps.Items), greeting.Status)
		}
		return nil
	})
}

func reconciles(ctx context.Context, c client.Client) error {
	if err := c.Create(ctx, newGreeting("one")); err != nil {
		return err
	}
	return copies(ctx, c, "one", 2, "hello")
}

func repairs(ctx context.Context, c client.Client) error {
	object := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "one-0"}}
	if err := c.Delete(ctx, object); err != nil {
		return err
	}
	other := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "one-1"}}
	patch := client.RawPatch(client.Merge.Type(), []byte(`{"data":{"text":"wrong"}}`))
	if err := c.Patch(ctx, other, patch); err != nil {
		return err
	}
	return copies(ctx, c, "one", 2, "hello")
}

func follows(ctx context.Context, c client.Client) error {
	greeting := newGreeting("one")
	_, err := controllerutil.CreateOrUpdate(ctx, c, greeting, func() error {
		greeting.Spec = GreetingSpec{Text: "good morning", Copies: 1}
		return nil
	})
	if err != nil {
		return err
	}
	return copies(ctx, c, "one", 1, "good morning")
}

func applies(ctx context.Context, c client.Client) error {
	wanted := applycorev1.ConfigMap("applied", "default").WithData(map[string]string{"a": "1"})
	if err := c.Apply(ctx, wanted, client.FieldOwner("one")); err != nil {
		return err
	}
	wanted.WithData(map[string]string{"a": "2"})
	err := c.Apply(ctx, wanted, client.FieldOwner("two"))
	if !apierrors.IsConflict(err) {
		return fmt.Errorf("no conflict: %w", err)
	}
	return c.Apply(ctx, wanted, client.FieldOwner("two"), client.ForceOwnership)
}

// By the index that the manager keeps, and by the label on the server.
func lists(ctx context.Context, c client.Client) error {
	loud := newGreeting("two")
	loud.Spec.Text = "HELLO"
	if err := c.Create(ctx, loud); err != nil {
		return err
	}
	return eventually(ctx, func() error {
		var found GreetingList
		err := c.List(ctx, &found, client.MatchingFields{textIndex: "HELLO"})
		if err == nil && (len(found.Items) != 1 || found.Items[0].Name != "two") {
			err = fmt.Errorf("found %d", len(found.Items))
		}
		return err
	})
}

func cleans(ctx context.Context, c client.Client) error {
	for _, name := range []string{"one", "two"} {
		if err := c.Delete(ctx, newGreeting(name)); err != nil {
			return err
		}
	}
	return eventually(ctx, func() error {
		var greetings GreetingList
		var maps corev1.ConfigMapList
		err := errors.Join(c.List(ctx, &greetings), c.List(ctx, &maps, client.HasLabels{ownerLabel}))
		if err == nil && len(greetings.Items)+len(maps.Items) > 0 {
			err = fmt.Errorf("%d greetings and %d copies are left",
				len(greetings.Items), len(maps.Items))
		}
		return err
	})
}
