package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apiextensions "k8s.io/apiextensions-apiserver/pkg/client/clientset/clientset"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	applycorev1 "k8s.io/client-go/applyconfigurations/core/v1"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/restmapper"
	scaleclient "k8s.io/client-go/scale"
	"k8s.io/client-go/tools/pager"
	"k8s.io/client-go/util/retry"
)

func pause(ctx context.Context, milliseconds int) {
	select {
	case <-ctx.Done():
	case <-time.After(time.Duration(milliseconds) * time.Millisecond):
	}
}

// A kind with a status, a scale and a field that may be chosen by, in version v1.
func installGadgets(ctx context.Context, b *bench, client dynamic.Interface) error {
	extensions, err := apiextensions.NewForConfig(b.config)
	if err != nil {
		return err
	}
	integer := apiextensionsv1.JSONSchemaProps{Type: "integer"}
	text := apiextensionsv1.JSONSchemaProps{Type: "string"}
	fields := func(names ...string) apiextensionsv1.JSONSchemaProps {
		properties := map[string]apiextensionsv1.JSONSchemaProps{}
		for _, name := range names {
			properties[name] = integer
			if name == "selector" || name == "color" {
				properties[name] = text
			}
		}
		return apiextensionsv1.JSONSchemaProps{Type: "object", Properties: properties}
	}
	schema := apiextensionsv1.JSONSchemaProps{
		Type: "object",
		Properties: map[string]apiextensionsv1.JSONSchemaProps{
			"spec":   fields("replicas", "color"),
			"status": fields("replicas", "selector"),
		},
	}
	selector := ".status.selector"
	crd := &apiextensionsv1.CustomResourceDefinition{
		ObjectMeta: metav1.ObjectMeta{Name: "gadgets.clients.example.org"},
		Spec: apiextensionsv1.CustomResourceDefinitionSpec{
			Group: gadgets.Group,
			Names: apiextensionsv1.CustomResourceDefinitionNames{
				Plural: "gadgets", Singular: "gadget", Kind: "Gadget", ListKind: "GadgetList",
			},
			Scope: apiextensionsv1.NamespaceScoped,
			Versions: []apiextensionsv1.CustomResourceDefinitionVersion{{
				Name: "v1", Served: true, Storage: true,
				Schema:           &apiextensionsv1.CustomResourceValidation{OpenAPIV3Schema: &schema},
				SelectableFields: []apiextensionsv1.SelectableField{{JSONPath: ".spec.color"}},
				Subresources: &apiextensionsv1.CustomResourceSubresources{
					Status: &apiextensionsv1.CustomResourceSubresourceStatus{},
					Scale: &apiextensionsv1.CustomResourceSubresourceScale{
						SpecReplicasPath:   ".spec.replicas",
						StatusReplicasPath: ".status.replicas",
						LabelSelectorPath:  &selector,
					},
				},
			}},
		},
	}
	crds := extensions.ApiextensionsV1().CustomResourceDefinitions()
	_, err = crds.Create(ctx, crd, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return err
	}
	return eventually(ctx, "the kind is served", func() error {
		_, err := client.Resource(gadgets).Namespace(b.namespace).List(ctx, metav1.ListOptions{})
		return err
	})
}

func newGadget(name string) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": gadgets.GroupVersion().String(),
		"kind":       "Gadget",
		"metadata":   map[string]any{"name": name},
		"spec":       map[string]any{"replicas": int64(1), "color": "red"},
	}}
}

func applyFromServer(ctx context.Context, b *bench) error {
	maps := b.client.CoreV1().ConfigMaps(b.namespace)
	mine := func(value string) *applycorev1.ConfigMapApplyConfiguration {
		return applycorev1.ConfigMap("applied", b.namespace).
			WithLabels(map[string]string{"by": "one"}).
			WithData(map[string]string{"key": value})
	}
	one := metav1.ApplyOptions{FieldManager: "one"}
	two := metav1.ApplyOptions{FieldManager: "two"}
	first, err := maps.Apply(ctx, mine("1"), one)
	if err != nil {
		return err
	}
	again, err := maps.Apply(ctx, mine("1"), one)
	if err != nil {
		return err
	}
	if again.ResourceVersion != first.ResourceVersion {
		return fmt.Errorf("applying the same wrote %s over %s", again.ResourceVersion, first.ResourceVersion)
	}
	_, err = maps.Apply(ctx, mine("2"), two)
	if !apierrors.IsConflict(err) || !strings.Contains(err.Error(), `conflict with "one"`) {
		return fmt.Errorf("no conflict: %v", err)
	}
	two.Force = true
	forced, err := maps.Apply(ctx, mine("2"), two)
	if err != nil {
		return err
	}
	extracted, err := applycorev1.ExtractConfigMap(forced, "two")
	if err != nil {
		return err
	}
	if extracted.Data["key"] != "2" || extracted.Labels["by"] != "one" {
		return fmt.Errorf("extracted %v %v", extracted.Data, extracted.Labels)
	}
	// Whoever stops applying a field that nobody else has takes it away.
	bare := applycorev1.ConfigMap("applied", b.namespace)
	if _, err := maps.Apply(ctx, bare, two); err != nil {
		return err
	}
	left, err := maps.Apply(ctx, bare, one)
	if err != nil {
		return err
	}
	if len(left.Data) != 0 || len(left.Labels) != 0 {
		return fmt.Errorf("left over: %v %v", left.Data, left.Labels)
	}
	return nil
}

func patchTyped(ctx context.Context, b *bench) error {
	accounts := b.client.CoreV1().ServiceAccounts(b.namespace)
	account := &corev1.ServiceAccount{
		ObjectMeta: metav1.ObjectMeta{Name: "patched"},
		Secrets:    []corev1.ObjectReference{{Name: "a"}, {Name: "b"}},
	}
	if _, err := accounts.Create(ctx, account, metav1.CreateOptions{}); err != nil {
		return err
	}
	for _, step := range []struct {
		kind  types.PatchType
		patch string
		want  string
	}{
		{types.StrategicMergePatchType, `{"secrets":[{"name":"c"}]}`, "c a b"},
		{types.StrategicMergePatchType, `{"secrets":[{"$patch":"delete","name":"a"}]}`, "c b"},
		{types.MergePatchType, `{"secrets":[{"name":"d"}]}`, "d"},
		{types.JSONPatchType, `[{"op":"add","path":"/secrets/-","value":{"name":"e"}}]`, "d e"},
	} {
		patched, err := accounts.Patch(
			ctx, "patched", step.kind, []byte(step.patch), metav1.PatchOptions{},
		)
		if err != nil {
			return fmt.Errorf("%s: %w", step.patch, err)
		}
		var names []string
		for _, secret := range patched.Secrets {
			names = append(names, secret.Name)
		}
		if got := strings.Join(names, " "); got != step.want {
			return fmt.Errorf("%s made %q, not %q", step.patch, got, step.want)
		}
	}
	return nil
}

func page(ctx context.Context, b *bench) error {
	life := configMapLife(b)
	const count = 95
	for i := range count {
		if err := life.create(ctx, fmt.Sprintf("o%02d", i)); err != nil {
			return err
		}
	}
	maps := b.client.CoreV1().ConfigMaps(b.namespace)
	pages := 0
	list := pager.New(func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
		pages++
		return maps.List(ctx, options)
	})
	list.PageSize = 10
	seen := map[string]bool{}
	options := metav1.ListOptions{LabelSelector: "followed=yes"}
	err := list.EachListItem(ctx, options, func(object runtime.Object) error {
		accessor, err := meta.Accessor(object)
		if err != nil {
			return err
		}
		seen[accessor.GetName()] = true
		return nil
	})
	if err != nil {
		return err
	}
	if len(seen) != count || pages != 10 {
		return fmt.Errorf("%d objects in %d pages", len(seen), pages)
	}
	first, err := maps.List(ctx, metav1.ListOptions{LabelSelector: "followed=yes", Limit: 10})
	if err != nil {
		return err
	}
	// A second page shows the state of the first one, whatever happens between them.
	if err := life.remove(ctx, "o50"); err != nil {
		return err
	}
	rest, err := maps.List(ctx, metav1.ListOptions{
		LabelSelector: "followed=yes", Continue: first.Continue,
	})
	if err != nil {
		return err
	}
	if len(rest.Items) != count-10 || rest.ResourceVersion != first.ResourceVersion {
		return fmt.Errorf("%d left at %s, first at %s",
			len(rest.Items), rest.ResourceVersion, first.ResourceVersion)
	}
	return nil
}

func retryConflicts(ctx context.Context, b *bench) error {
	maps := b.client.CoreV1().ConfigMaps(b.namespace)
	if err := configMapLife(b).create(ctx, "counter"); err != nil {
		return err
	}
	const writers, turns = 5, 10
	errs := make(chan error, writers)
	for range writers {
		go func() {
			var failed error
			for range turns {
				failed = errors.Join(failed, retry.RetryOnConflict(patient, func() error {
					object, err := maps.Get(ctx, "counter", metav1.GetOptions{})
					if err != nil {
						return err
					}
					object.Data = map[string]string{"n": object.Data["n"] + "x"}
					_, err = maps.Update(ctx, object, metav1.UpdateOptions{})
					return err
				}))
			}
			errs <- failed
		}()
	}
	for range writers {
		if err := <-errs; err != nil {
			return err
		}
	}
	object, err := maps.Get(ctx, "counter", metav1.GetOptions{})
	if err == nil && len(object.Data["n"]) != writers*turns {
		err = fmt.Errorf("%d increments are left of %d", len(object.Data["n"]), writers*turns)
	}
	return err
}

// More so than retry.DefaultRetry: five writers at one object are many.
var patient = wait.Backoff{Steps: 60, Duration: 5 * time.Millisecond, Jitter: 1}

func scale(ctx context.Context, b *bench) error {
	client, err := dynamic.NewForConfig(b.config)
	if err != nil {
		return err
	}
	if err := installGadgets(ctx, b, client); err != nil {
		return err
	}
	if err := gadgetLife(b, client).create(ctx, "scaled"); err != nil {
		return err
	}
	discovered := discovery.NewDiscoveryClientForConfigOrDie(b.config)
	mapper := restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(discovered))
	scales, err := scaleclient.NewForConfig(b.config, mapper, dynamic.LegacyAPIPathResolverFunc,
		scaleclient.NewDiscoveryScaleKindResolver(discovered))
	if err != nil {
		return err
	}
	all := scales.Scales(b.namespace)
	current, err := all.Get(ctx, gadgets.GroupResource(), "scaled", metav1.GetOptions{})
	if err != nil {
		return err
	}
	current.Spec.Replicas = 7
	if _, err := all.Update(ctx, gadgets.GroupResource(), current, metav1.UpdateOptions{}); err != nil {
		return err
	}
	objects := client.Resource(gadgets).Namespace(b.namespace)
	object, err := objects.Get(ctx, "scaled", metav1.GetOptions{})
	if err != nil {
		return err
	}
	if err := unstructured.SetNestedField(object.Object, int64(4), "status", "replicas"); err != nil {
		return err
	}
	if err := unstructured.SetNestedField(object.Object, int64(9), "spec", "replicas"); err != nil {
		return err
	}
	if _, err := objects.UpdateStatus(ctx, object, metav1.UpdateOptions{}); err != nil {
		return err
	}
	current, err = all.Get(ctx, gadgets.GroupResource(), "scaled", metav1.GetOptions{})
	if err == nil && (current.Spec.Replicas != 7 || current.Status.Replicas != 4) {
		err = fmt.Errorf("wanted %d, has %d", current.Spec.Replicas, current.Status.Replicas)
	}
	return err
}

func collectGarbage(ctx context.Context, b *bench) error {
	maps := b.client.CoreV1().ConfigMaps(b.namespace)
	create := func(name string, owner *corev1.ConfigMap, finalizers ...string) (*corev1.ConfigMap, error) {
		object := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name, Finalizers: finalizers}}
		if owner != nil {
			kind := corev1.SchemeGroupVersion.WithKind("ConfigMap")
			object.OwnerReferences = []metav1.OwnerReference{*metav1.NewControllerRef(owner, kind)}
		}
		return maps.Create(ctx, object, metav1.CreateOptions{})
	}
	gone := func(name string) error {
		return eventually(ctx, name+" is gone", func() error {
			_, err := maps.Get(ctx, name, metav1.GetOptions{})
			if apierrors.IsNotFound(err) {
				return nil
			}
			return fmt.Errorf("it is there (%v)", err)
		})
	}
	for _, policy := range []metav1.DeletionPropagation{
		metav1.DeletePropagationBackground, metav1.DeletePropagationForeground,
	} {
		owner, err := create("owner", nil)
		if err != nil {
			return err
		}
		if _, err := create("owned", owner, "clients.example.org/hold"); err != nil {
			return err
		}
		if err := maps.Delete(ctx, "owner", metav1.DeleteOptions{PropagationPolicy: &policy}); err != nil {
			return err
		}
		err = eventually(ctx, "the owned object is marked", func() error {
			object, err := maps.Get(ctx, "owned", metav1.GetOptions{})
			if err == nil && object.DeletionTimestamp == nil {
				err = errors.New("it is not")
			}
			return err
		})
		if err != nil {
			return err
		}
		_, err = maps.Get(ctx, "owner", metav1.GetOptions{})
		if waits := policy == metav1.DeletePropagationForeground; waits != (err == nil) {
			return fmt.Errorf("%s, the owned object is held: %v", policy, err)
		}
		_, err = maps.Patch(ctx, "owned", types.JSONPatchType,
			[]byte(`[{"op":"remove","path":"/metadata/finalizers"}]`), metav1.PatchOptions{})
		if err != nil {
			return err
		}
		if err := errors.Join(gone("owned"), gone("owner")); err != nil {
			return err
		}
	}
	wrong := types.UID("not-this-one")
	if _, err := create("kept", nil); err != nil {
		return err
	}
	err := maps.Delete(ctx, "kept", metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &wrong}})
	if !apierrors.IsConflict(err) {
		return fmt.Errorf("a wrong uid is %v", err)
	}
	return nil
}
