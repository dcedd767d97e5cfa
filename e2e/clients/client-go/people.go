package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"os"
	"strings"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/discovery/cached/disk"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"
	"k8s.io/client-go/tools/events"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
	"k8s.io/client-go/tools/record"
	"k8s.io/client-go/util/certificate/csr"
)

// What must be found, with the kind that a client derives from it.
var served = map[schema.GroupResource]string{
	{Resource: "configmaps"}:                                               "ConfigMap",
	{Group: "rbac.authorization.k8s.io", Resource: "roles"}:                "Role",
	{Group: "coordination.k8s.io", Resource: "leases"}:                     "Lease",
	{Group: "apiextensions.k8s.io", Resource: "customresourcedefinitions"}: "CustomResourceDefinition",
}

func discover(_ context.Context, b *bench) error {
	client, err := discovery.NewDiscoveryClientForConfig(b.config)
	if err != nil {
		return err
	}
	return checkDiscovered(memory.NewMemCacheClient(client))
}

func discoverOnDisk(_ context.Context, b *bench) error {
	dir, err := os.MkdirTemp("", "client-go-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	for range 2 {
		client, err := disk.NewCachedDiscoveryClientForConfig(b.config, dir, dir+"/http", time.Hour)
		if err != nil {
			return err
		}
		if err := checkDiscovered(client); err != nil {
			return err
		}
	}
	return nil
}

func checkDiscovered(client discovery.CachedDiscoveryInterface) error {
	// Groups that are advertised but cannot be read are an error here, as for many programs.
	if _, err := client.ServerPreferredResources(); err != nil {
		return err
	}
	if _, _, err := client.ServerGroupsAndResources(); err != nil {
		return err
	}
	version, err := client.ServerVersion()
	if err != nil || version.Major != "1" {
		return fmt.Errorf("version %v: %w", version, err)
	}
	mapper := restmapper.NewShortcutExpander(
		restmapper.NewDeferredDiscoveryRESTMapper(client), client, nil,
	)
	for resource, kind := range served {
		found, err := mapper.KindFor(resource.WithVersion(""))
		if err != nil || found.Kind != kind {
			return fmt.Errorf("%v is of kind %v: %w", resource, found, err)
		}
	}
	short, err := mapper.ResourceFor(schema.GroupVersionResource{Resource: "cm"})
	if err != nil || short.Resource != "configmaps" {
		return fmt.Errorf("cm means %v: %w", short, err)
	}
	return nil
}

func readOpenAPI(_ context.Context, b *bench) error {
	client, err := discovery.NewDiscoveryClientForConfig(b.config)
	if err != nil {
		return err
	}
	paths, err := client.OpenAPIV3().Paths()
	if err != nil {
		return err
	}
	for path, document := range paths {
		text, err := document.Schema("application/json")
		if err != nil || !strings.Contains(string(text), `"openapi":"3.0.0"`) {
			return fmt.Errorf("%s: %d bytes: %v", path, len(text), err)
		}
	}
	if len(paths) < len(served) {
		return fmt.Errorf("only %d documents", len(paths))
	}
	old, err := client.OpenAPISchema()
	if err != nil {
		return err
	}
	if len(old.GetDefinitions().GetAdditionalProperties()) == 0 {
		return fmt.Errorf("the old document has no definitions")
	}
	return nil
}

func elect(ctx context.Context, b *bench) error {
	type change struct{ who, what string }
	changes := make(chan change, 16)
	candidate := func(ctx context.Context, name string) error {
		lock := &resourcelock.LeaseLock{
			LeaseMeta:  metav1.ObjectMeta{Name: "election", Namespace: b.namespace},
			Client:     b.client.CoordinationV1(),
			LockConfig: resourcelock.ResourceLockConfig{Identity: name},
		}
		elector, err := leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
			Lock: lock, ReleaseOnCancel: true, LeaseDuration: 5 * time.Second,
			RenewDeadline: 3 * time.Second, RetryPeriod: 200 * time.Millisecond,
			Callbacks: leaderelection.LeaderCallbacks{
				OnStartedLeading: func(context.Context) { changes <- change{name, "leads"} },
				OnStoppedLeading: func() { changes <- change{name, "stopped"} },
			},
		})
		if err == nil {
			go elector.Run(ctx)
		}
		return err
	}
	next := func(want change) error {
		select {
		case <-ctx.Done():
			return fmt.Errorf("%v did not come", want)
		case got := <-changes:
			if got != want {
				return fmt.Errorf("%v instead of %v", got, want)
			}
			return nil
		}
	}
	first, resign := context.WithCancel(ctx)
	defer resign()
	if err := candidate(first, "one"); err != nil {
		return err
	}
	if err := next(change{"one", "leads"}); err != nil {
		return err
	}
	if err := candidate(ctx, "two"); err != nil {
		return err
	}
	pause(ctx, 1000)
	resign()
	if err := next(change{"one", "stopped"}); err != nil {
		return err
	}
	return next(change{"two", "leads"})
}

func recordEvents(ctx context.Context, b *bench) error {
	object := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "seen", Namespace: b.namespace}}
	object, err := b.client.CoreV1().ConfigMaps(b.namespace).Create(ctx, object, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	old := record.NewBroadcaster(record.WithContext(ctx))
	old.StartRecordingToSink(&clientSink{ctx, b})
	recorder := old.NewRecorder(scheme.Scheme, corev1.EventSource{Component: "clients"})
	for range 3 {
		recorder.Event(object, corev1.EventTypeNormal, "Seen", "by the old way")
	}
	recent := events.NewBroadcaster(&events.EventSinkImpl{Interface: b.client.EventsV1()})
	if err := recent.StartRecordingToSinkWithContext(ctx); err != nil {
		return err
	}
	recent.NewRecorder(scheme.Scheme, "clients.example.org/c").
		Eventf(object, nil, corev1.EventTypeNormal, "Seen", "Looking", "by the new way")
	selector := "involvedObject.uid=" + string(object.UID) + ",reason=Seen"
	return eventually(ctx, "events", func() error {
		list, err := b.client.CoreV1().Events(b.namespace).List(ctx, metav1.ListOptions{FieldSelector: selector})
		if err != nil {
			return err
		}
		var counts []int32
		for _, event := range list.Items {
			counts = append(counts, event.Count)
		}
		if len(counts) != 2 || max(counts[0], counts[1]) != 3 {
			return fmt.Errorf("counted %v", counts)
		}
		return nil
	})
}

// The sink of the old recorder, which wants no context in its calls.
type clientSink struct {
	ctx context.Context
	b   *bench
}

func (s *clientSink) Create(event *corev1.Event) (*corev1.Event, error) {
	return s.b.client.CoreV1().Events(event.Namespace).Create(s.ctx, event, metav1.CreateOptions{})
}

func (s *clientSink) Update(event *corev1.Event) (*corev1.Event, error) {
	return s.b.client.CoreV1().Events(event.Namespace).Update(s.ctx, event, metav1.UpdateOptions{})
}

func (s *clientSink) Patch(event *corev1.Event, data []byte) (*corev1.Event, error) {
	return s.b.client.CoreV1().Events(event.Namespace).
		PatchWithEventNamespaceWithContext(s.ctx, event, data)
}

func useTokens(ctx context.Context, b *bench) error {
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "robot"}}
	accounts := b.client.CoreV1().ServiceAccounts(b.namespace)
	if _, err := accounts.Create(ctx, account, metav1.CreateOptions{}); err != nil {
		return err
	}
	seconds := int64(600)
	wanted := &authenticationv1.TokenRequest{
		Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: &seconds},
	}
	given, err := accounts.CreateToken(ctx, "robot", wanted, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	review, err := b.client.AuthenticationV1().TokenReviews().Create(ctx, &authenticationv1.TokenReview{
		Spec: authenticationv1.TokenReviewSpec{Token: given.Status.Token},
	}, metav1.CreateOptions{})
	name := "system:serviceaccount:" + b.namespace + ":robot"
	if err != nil || !review.Status.Authenticated || review.Status.User.Username != name {
		return fmt.Errorf("the review says %v: %w", review, err)
	}
	config := rest.AnonymousClientConfig(b.config)
	config.BearerToken = given.Status.Token
	robot, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	_, err = robot.CoreV1().Secrets(b.namespace).List(ctx, metav1.ListOptions{})
	if !apierrors.IsForbidden(err) {
		return fmt.Errorf("the robot lists secrets: %v", err)
	}
	can, err := robot.AuthorizationV1().SelfSubjectAccessReviews().Create(ctx,
		&authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{
			ResourceAttributes: &authorizationv1.ResourceAttributes{
				Namespace: b.namespace, Verb: "list", Resource: "secrets",
			},
		}}, metav1.CreateOptions{})
	if err != nil || can.Status.Allowed {
		return fmt.Errorf("the robot's own review: %v: %w", can, err)
	}
	return nil
}

func requestCertificate(ctx context.Context, b *bench) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{
		Subject: pkix.Name{CommonName: "client", Organization: []string{"clients"}},
	}, key)
	if err != nil {
		return err
	}
	request := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})
	usages := []certificatesv1.KeyUsage{certificatesv1.UsageClientAuth}
	name, uid, err := csr.RequestCertificateWithContext(ctx, b.client, request, "",
		"clients.example.org/signer", nil, usages, key)
	if err != nil {
		return err
	}
	// Nobody signs for this signer: what is shown here is that the request is there to be signed.
	waited, cancel := context.WithTimeout(ctx, 500*time.Millisecond)
	defer cancel()
	if _, err := csr.WaitForCertificate(waited, b.client, name, uid); err == nil {
		return fmt.Errorf("somebody signed %s", name)
	}
	return b.client.CertificatesV1().CertificateSigningRequests().
		Delete(ctx, name, metav1.DeleteOptions{})
}

// As the controllers of Kubernetes itself are set up: protobuf first, JSON where there is none.
func preferProtobuf(ctx context.Context, b *bench) error {
	config := rest.CopyConfig(b.config)
	config.ContentType = "application/vnd.kubernetes.protobuf"
	config.AcceptContentTypes = "application/vnd.kubernetes.protobuf,application/json"
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	return followWithInformers(ctx, &bench{config, client, b.namespace})
}
