package main

import (
	"context"
	"fmt"
	"sync"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/dynamic/dynamicinformer"
	"k8s.io/client-go/features"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/metadata/metadatainformer"
	"k8s.io/client-go/tools/cache"
	watchtools "k8s.io/client-go/tools/watch"
)

// Objects that exist before an informer starts, and as many that come while it runs.
const followed = 40

var (
	configMaps = schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}
	gadgets    = schema.GroupVersionResource{
		Group: "clients.example.org", Version: "v1", Resource: "gadgets",
	}
)

// What an informer's handlers were told.
type told struct {
	sync.Mutex
	added, updated, deleted map[string]int
}

func newTold() *told {
	return &told{added: map[string]int{}, updated: map[string]int{}, deleted: map[string]int{}}
}

func (t *told) note(which map[string]int, object any) {
	key, err := cache.DeletionHandlingMetaNamespaceKeyFunc(object)
	if err != nil {
		key = "?" + err.Error()
	}
	t.Lock()
	defer t.Unlock()
	which[key]++
}

func (t *told) handlers() cache.ResourceEventHandler {
	return cache.ResourceEventHandlerFuncs{
		AddFunc:    func(object any) { t.note(t.added, object) },
		UpdateFunc: func(_, object any) { t.note(t.updated, object) },
		DeleteFunc: func(object any) { t.note(t.deleted, object) },
	}
}

// Each object was added once, updated once and deleted once: nothing lost, nothing twice.
func (t *told) complete(namespace string, want int) error {
	t.Lock()
	defer t.Unlock()
	for i := range want {
		key := fmt.Sprintf("%s/o%d", namespace, i)
		if a, u, d := t.added[key], t.updated[key], t.deleted[key]; a != 1 || u != 1 || d != 1 {
			return fmt.Errorf("%s was added %d, updated %d, deleted %d times", key, a, u, d)
		}
	}
	return nil
}

// The life of objects while somebody follows them: half are there before.
type life struct {
	create, update, remove func(context.Context, string) error
}

func (l life) run(ctx context.Context, told *told, namespace string, start func() error) error {
	for i := range followed {
		if err := l.create(ctx, fmt.Sprintf("o%d", i)); err != nil {
			return err
		}
	}
	if err := start(); err != nil {
		return err
	}
	for i := followed; i < 2*followed; i++ {
		if err := l.create(ctx, fmt.Sprintf("o%d", i)); err != nil {
			return err
		}
	}
	seen := func() error {
		told.Lock()
		defer told.Unlock()
		if len(told.added) < 2*followed {
			return fmt.Errorf("%d of %d added", len(told.added), 2*followed)
		}
		return nil
	}
	if err := eventually(ctx, "objects added", seen); err != nil {
		return err
	}
	for _, step := range []func(context.Context, string) error{l.update, l.remove} {
		for i := range 2 * followed {
			if err := step(ctx, fmt.Sprintf("o%d", i)); err != nil {
				return err
			}
		}
	}
	complete := func() error { return told.complete(namespace, 2*followed) }
	return eventually(ctx, "handlers", complete)
}

func configMapLife(b *bench) life {
	maps := b.client.CoreV1().ConfigMaps(b.namespace)
	return life{
		create: func(ctx context.Context, name string) error {
			meta := metav1.ObjectMeta{Name: name, Labels: map[string]string{"followed": "yes"}}
			_, err := maps.Create(ctx, &corev1.ConfigMap{ObjectMeta: meta}, metav1.CreateOptions{})
			return err
		},
		update: func(ctx context.Context, name string) error {
			object, err := maps.Get(ctx, name, metav1.GetOptions{})
			if err != nil {
				return err
			}
			object.Data = map[string]string{"turn": "2"}
			_, err = maps.Update(ctx, object, metav1.UpdateOptions{})
			return err
		},
		remove: func(ctx context.Context, name string) error {
			return maps.Delete(ctx, name, metav1.DeleteOptions{})
		},
	}
}

func followWithInformers(ctx context.Context, b *bench) error {
	told := newTold()
	only := func(options *metav1.ListOptions) { options.LabelSelector = "followed=yes" }
	factory := informers.NewSharedInformerFactoryWithOptions(
		b.client, 0, informers.WithNamespace(b.namespace), informers.WithTweakListOptions(only),
	)
	informer := factory.Core().V1().ConfigMaps()
	if _, err := informer.Informer().AddEventHandler(told.handlers()); err != nil {
		return err
	}
	start := func() error {
		factory.Start(ctx.Done())
		for kind, synced := range factory.WaitForCacheSync(ctx.Done()) {
			if !synced {
				return fmt.Errorf("%v did not sync", kind)
			}
		}
		listed, err := informer.Lister().ConfigMaps(b.namespace).List(labels.Everything())
		if err == nil && len(listed) != followed {
			err = fmt.Errorf("the lister knows %d objects", len(listed))
		}
		return err
	}
	return configMapLife(b).run(ctx, told, b.namespace, start)
}

// The first state comes over the watch itself; a fall-back to a list would go unnoticed by the
// informer, so it is asked here whether the server streams at all.
func followStreamed(ctx context.Context, b *bench) error {
	if !features.FeatureGates().Enabled(features.WatchListClient) {
		return fmt.Errorf("this client-go does not stream lists by itself")
	}
	if err := configMapLife(b).create(ctx, "first"); err != nil {
		return err
	}
	yes := true
	watcher, err := b.client.CoreV1().ConfigMaps(b.namespace).Watch(ctx, metav1.ListOptions{
		SendInitialEvents:    &yes,
		AllowWatchBookmarks:  true,
		ResourceVersionMatch: metav1.ResourceVersionMatchNotOlderThan,
	})
	if err != nil {
		return err
	}
	defer watcher.Stop()
	var seen []string
	for event := range watcher.ResultChan() {
		object, ok := event.Object.(*corev1.ConfigMap)
		if !ok {
			return fmt.Errorf("%s of %T", event.Type, event.Object)
		}
		if event.Type == watch.Bookmark {
			if object.Annotations[metav1.InitialEventsAnnotationKey] != "true" {
				return fmt.Errorf("a bookmark without its annotation: %v", object.Annotations)
			}
			break
		}
		seen = append(seen, object.Name)
	}
	for _, name := range seen {
		if name == "first" {
			return nil
		}
	}
	return fmt.Errorf("the stream began with %v", seen)
}

func followDynamically(ctx context.Context, b *bench) error {
	client, err := dynamic.NewForConfig(b.config)
	if err != nil {
		return err
	}
	if err := installGadgets(ctx, b, client); err != nil {
		return err
	}
	told := newTold()
	factory := dynamicinformer.NewFilteredDynamicSharedInformerFactory(
		client, 0, b.namespace, nil,
	)
	informer := factory.ForResource(gadgets).Informer()
	if _, err := informer.AddEventHandler(told.handlers()); err != nil {
		return err
	}
	start := func() error {
		factory.Start(ctx.Done())
		if !factory.WaitForCacheSync(ctx.Done())[gadgets] {
			return fmt.Errorf("gadgets did not sync")
		}
		return nil
	}
	return gadgetLife(b, client).run(ctx, told, b.namespace, start)
}

func gadgetLife(b *bench, client dynamic.Interface) life {
	all := client.Resource(gadgets).Namespace(b.namespace)
	return life{
		create: func(ctx context.Context, name string) error {
			_, err := all.Create(ctx, newGadget(name), metav1.CreateOptions{})
			return err
		},
		update: func(ctx context.Context, name string) error {
			object, err := all.Get(ctx, name, metav1.GetOptions{})
			if err != nil {
				return err
			}
			if err := unstructured.SetNestedField(object.Object, int64(3), "spec", "replicas"); err != nil {
				return err
			}
			_, err = all.Update(ctx, object, metav1.UpdateOptions{})
			return err
		},
		remove: func(ctx context.Context, name string) error {
			return all.Delete(ctx, name, metav1.DeleteOptions{})
		},
	}
}

func followMetadata(ctx context.Context, b *bench) error {
	client, err := metadata.NewForConfig(b.config)
	if err != nil {
		return err
	}
	told := newTold()
	factory := metadatainformer.NewFilteredSharedInformerFactory(client, 0, b.namespace,
		func(options *metav1.ListOptions) { options.LabelSelector = "followed=yes" })
	informer := factory.ForResource(configMaps).Informer()
	if _, err := informer.AddEventHandler(told.handlers()); err != nil {
		return err
	}
	start := func() error {
		factory.Start(ctx.Done())
		if !factory.WaitForCacheSync(ctx.Done())[configMaps] {
			return fmt.Errorf("metadata did not sync")
		}
		for _, object := range informer.GetStore().List() {
			partial, ok := object.(*metav1.PartialObjectMetadata)
			if !ok || partial.UID == "" {
				return fmt.Errorf("%T without metadata", object)
			}
		}
		return nil
	}
	return configMapLife(b).run(ctx, told, b.namespace, start)
}

// Watches from a version on, is cut off, and goes on where it was.
func rewatch(ctx context.Context, b *bench) error {
	maps := b.client.CoreV1().ConfigMaps(b.namespace)
	list, err := maps.List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	short := int64(1)
	lw := &cache.ListWatch{
		WatchFuncWithContext: func(
			ctx context.Context, options metav1.ListOptions,
		) (watch.Interface, error) {
			options.TimeoutSeconds = &short
			return maps.Watch(ctx, options)
		},
		ListWithContextFunc: func(
			ctx context.Context, options metav1.ListOptions,
		) (runtime.Object, error) {
			return maps.List(ctx, options)
		},
	}
	watcher, err := watchtools.NewRetryWatcherWithContext(ctx, list.ResourceVersion, lw)
	if err != nil {
		return err
	}
	defer watcher.Stop()
	life := configMapLife(b)
	go func() {
		for i := range 30 {
			if life.create(ctx, fmt.Sprintf("o%d", i)) != nil {
				return
			}
			pause(ctx, 100)
		}
	}()
	for i := 0; i < 30; {
		select {
		case <-ctx.Done():
			return fmt.Errorf("%d of 30 seen", i)
		case event, open := <-watcher.ResultChan():
			if !open {
				return fmt.Errorf("the watcher gave up after %d", i)
			}
			object, ok := event.Object.(*corev1.ConfigMap)
			if !ok || event.Type == watch.Bookmark || object.Name == "kube-root-ca.crt" {
				continue
			}
			if want := fmt.Sprintf("o%d", i); object.Name != want {
				return fmt.Errorf("%s came instead of %s", object.Name, want)
			}
			i++
		}
	}
	return nil
}
