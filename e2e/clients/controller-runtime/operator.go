package main

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
)

const (
	ownerLabel = "clients.example.org/greeting"
	finalizer  = "clients.example.org/copies"
	textIndex  = "spec.text"
)

var (
	groupVersion = schema.GroupVersion{Group: "clients.example.org", Version: "v1"}
	scheme       = runtime.NewScheme()
)

func init() {
	utilruntime.Must(clientgoscheme.AddToScheme(scheme))
	utilruntime.Must(apiextensionsv1.AddToScheme(scheme))
	scheme.AddKnownTypes(groupVersion, &Greeting{}, &GreetingList{})
	metav1.AddToGroupVersion(scheme, groupVersion)
}

// Greeting asks for ConfigMaps that say something.
type Greeting struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`
	Spec              GreetingSpec   `json:"spec"`
	Status            GreetingStatus `json:"status,omitempty"`
}

// GreetingSpec is what is asked for.
type GreetingSpec struct {
	Text   string `json:"text"`
	Copies int    `json:"copies"`
}

// GreetingStatus is what there is.
type GreetingStatus struct {
	ObservedGeneration int64              `json:"observedGeneration,omitempty"`
	Conditions         []metav1.Condition `json:"conditions,omitempty"`
}

// GreetingList is a list of Greetings.
type GreetingList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Greeting `json:"items"`
}

// DeepCopyObject copies all of it.
func (g *Greeting) DeepCopyObject() runtime.Object {
	out := *g
	g.ObjectMeta.DeepCopyInto(&out.ObjectMeta)
	out.Status.Conditions = append([]metav1.Condition(nil), g.Status.Conditions...)
	return &out
}

// DeepCopyObject copies all of it.
func (l *GreetingList) DeepCopyObject() runtime.Object {
	out := *l
	l.ListMeta.DeepCopyInto(&out.ListMeta)
	out.Items = nil
	for at := range l.Items {
		out.Items = append(out.Items, *l.Items[at].DeepCopyObject().(*Greeting))
	}
	return &out
}

func install(ctx context.Context, c client.Client) error {
	integer, text := apiextensionsv1.JSONSchemaProps{Type: "integer"}, apiextensionsv1.JSONSchemaProps{Type: "string"}
	anything, preserve := apiextensionsv1.JSONSchemaProps{Type: "object"}, true
	anything.XPreserveUnknownFields = &preserve
	spec := apiextensionsv1.JSONSchemaProps{
		Type: "object", Required: []string{"text"},
		Properties: map[string]apiextensionsv1.JSONSchemaProps{"text": text, "copies": integer},
		XValidations: apiextensionsv1.ValidationRules{{
			Rule: "!has(self.copies) || self.copies < 100", Message: "at most 99 copies",
		}},
	}
	crd := &apiextensionsv1.CustomResourceDefinition{
		ObjectMeta: metav1.ObjectMeta{Name: "greetings.clients.example.org"},
		Spec: apiextensionsv1.CustomResourceDefinitionSpec{
			Group: groupVersion.Group, Scope: apiextensionsv1.NamespaceScoped,
			Names: apiextensionsv1.CustomResourceDefinitionNames{
				Plural: "greetings", Singular: "greeting", Kind: "Greeting", ListKind: "GreetingList",
			},
			Versions: []apiextensionsv1.CustomResourceDefinitionVersion{{
				Name: "v1", Served: true, Storage: true,
				Subresources: &apiextensionsv1.CustomResourceSubresources{
					Status: &apiextensionsv1.CustomResourceSubresourceStatus{},
				},
				Schema: &apiextensionsv1.CustomResourceValidation{
					OpenAPIV3Schema: &apiextensionsv1.JSONSchemaProps{
						Type: "object",
						Properties: map[string]apiextensionsv1.JSONSchemaProps{
							"spec": spec, "status": anything,
						},
					},
				},
			}},
		},
	}
	if err := c.Create(ctx, crd); err != nil {
		return err
	}
	return eventually(ctx, func() error {
		if err := c.Get(ctx, client.ObjectKeyFromObject(crd), crd); err != nil {
			return err
		}
		for _, condition := range crd.Status.Conditions {
			if condition.Type == "Established" && condition.Status == "True" {
				return nil
			}
		}
		return fmt.Errorf("not established: %v", crd.Status.Conditions)
	})
}

// Starts the manager and waits until it leads and its informers have synced.
func start(ctx context.Context, config *rest.Config) (ctrl.Manager, error) {
	manager, err := ctrl.NewManager(config, options())
	if err != nil {
		return nil, err
	}
	index := func(object client.Object) []string { return []string{object.(*Greeting).Spec.Text} }
	if err := manager.GetFieldIndexer().IndexField(ctx, &Greeting{}, textIndex, index); err != nil {
		return nil, err
	}
	err = ctrl.NewControllerManagedBy(manager).For(&Greeting{}).Owns(&corev1.ConfigMap{}).
		Complete(&reconciler{manager.GetClient()})
	if err != nil {
		return nil, err
	}
	ended := make(chan error, 1)
	go func() { ended <- manager.Start(ctx) }()
	select {
	case err := <-ended:
		return nil, fmt.Errorf("it ended: %w", err)
	case <-manager.Elected():
	case <-ctx.Done():
		return nil, fmt.Errorf("nobody was elected")
	}
	if !manager.GetCache().WaitForCacheSync(ctx) {
		return nil, fmt.Errorf("its informers did not sync")
	}
	return manager, nil
}

type reconciler struct{ client.Client }

func (r *reconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	greeting := &Greeting{}
	if err := r.Get(ctx, request.NamespacedName, greeting); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if !greeting.DeletionTimestamp.IsZero() {
		of := client.MatchingLabels{ownerLabel: greeting.Name}
		err := r.DeleteAllOf(ctx, &corev1.ConfigMap{}, client.InNamespace(greeting.Namespace), of)
		if err == nil && controllerutil.RemoveFinalizer(greeting, finalizer) {
			err = r.Update(ctx, greeting)
		}
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if controllerutil.AddFinalizer(greeting, finalizer) {
		return ctrl.Result{}, r.Update(ctx, greeting)
	}
	if err := r.copy(ctx, greeting); err != nil {
		return ctrl.Result{}, err
	}
	before := greeting.DeepCopyObject().(*Greeting)
	greeting.Status.ObservedGeneration = greeting.Generation
	meta.SetStatusCondition(&greeting.Status.Conditions, metav1.Condition{
		Type: "Ready", Status: metav1.ConditionTrue, Reason: "Copied",
		ObservedGeneration: greeting.Generation,
	})
	err := r.Status().Patch(ctx, greeting, client.MergeFrom(before))
	return ctrl.Result{RequeueAfter: time.Minute}, err
}

// Makes the copies that are asked for and deletes the others.
func (r *reconciler) copy(ctx context.Context, greeting *Greeting) error {
	wanted := map[string]bool{}
	for at := range greeting.Spec.Copies {
		object := &corev1.ConfigMap{}
		object.Namespace, object.Name = greeting.Namespace, fmt.Sprintf("%s-%d", greeting.Name, at)
		wanted[object.Name] = true
		_, err := controllerutil.CreateOrUpdate(ctx, r.Client, object, func() error {
			object.Labels = map[string]string{ownerLabel: greeting.Name}
			object.Data = map[string]string{"text": greeting.Spec.Text}
			return controllerutil.SetControllerReference(greeting, object, scheme)
		})
		if err != nil {
			return err
		}
	}
	var maps corev1.ConfigMapList
	of := client.MatchingLabels{ownerLabel: greeting.Name}
	if err := r.List(ctx, &maps, client.InNamespace(greeting.Namespace), of); err != nil {
		return err
	}
	for at := range maps.Items {
		if !wanted[maps.Items[at].Name] {
			err := r.Delete(ctx, &maps.Items[at])
			if client.IgnoreNotFound(err) != nil {
				return err
			}
		}
	}
	return nil
}
