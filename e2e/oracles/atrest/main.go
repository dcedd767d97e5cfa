// Command atrest answers what Kubernetes' own code makes of an EncryptionConfiguration.
//
//	atrest open CONFIG   reads lines {"resource","key","value"} (value in base64) and opens each
//	atrest seal CONFIG   reads the same lines and seals each
//	atrest check         reads lines {"config"} and says what is wrong with each
//	atrest plugin SOCKET serves a KMS v2 plugin on Kubernetes' own gRPC server until it is killed
//
// Every line is answered by one line. The plugin wraps with a key that it makes at its start.
package main

import (
	"bufio"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/server/options/encryptionconfig"
	"k8s.io/apiserver/pkg/storage/value"
	"k8s.io/kms/pkg/service"
)

type question struct {
	Resource string `json:"resource"`
	Key      string `json:"key"`
	Value    []byte `json:"value"`
	Config   string `json:"config"`
}

type answer struct {
	Value []byte `json:"value,omitempty"`
	Stale bool   `json:"stale"`
	Error string `json:"error,omitempty"`
}

func main() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	switch os.Args[1] {
	case "open", "seal":
		config, err := encryptionconfig.LoadEncryptionConfig(ctx, os.Args[2], true, "atrest")
		if err != nil {
			fail(err)
		}
		seal := os.Args[1] == "seal"
		lines(func(q question) answer { return transform(ctx, config, q, seal) })
	case "check":
		lines(check)
	case "plugin":
		plugin(os.Args[2])
	default:
		fail(fmt.Errorf("unknown command %q", os.Args[1]))
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

func lines(reply func(question) answer) {
	in, out := bufio.NewReaderSize(os.Stdin, 1<<20), json.NewEncoder(os.Stdout)
	for {
		line, err := in.ReadBytes('\n')
		if err != nil {
			return
		}
		var q question
		if err := json.Unmarshal(line, &q); err != nil {
			fail(err)
		}
		if err := out.Encode(reply(q)); err != nil {
			fail(err)
		}
	}
}

func transform(ctx context.Context, config *encryptionconfig.EncryptionConfiguration, q question, seal bool) answer {
	transformers := encryptionconfig.StaticTransformers(config.Transformers)
	one := transformers.TransformerForResource(schema.ParseGroupResource(q.Resource))
	place := value.DefaultContext(q.Key)
	var a answer
	var err error
	if seal {
		a.Value, err = one.TransformToStorage(ctx, q.Value, place)
	} else {
		a.Value, a.Stale, err = one.TransformFromStorage(ctx, q.Value, place)
	}
	if err != nil {
		a.Error = err.Error()
	}
	return a
}

func check(q question) answer {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	file, err := os.CreateTemp("", "atrest-*.yaml")
	if err != nil {
		fail(err)
	}
	defer os.Remove(file.Name())
	if _, err := file.WriteString(q.Config); err != nil {
		fail(err)
	}
	file.Close()
	if _, err := encryptionconfig.LoadEncryptionConfig(ctx, file.Name(), false, "atrest"); err != nil {
		return answer{Error: strings.ReplaceAll(err.Error(), file.Name(), "FILE")}
	}
	return answer{}
}

// wrapper is a plugin with one key.
type wrapper struct{ aead cipher.AEAD }

func plugin(socket string) {
	key := make([]byte, 32)
	if _, err := rand.Read(key); err != nil {
		fail(err)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		fail(err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		fail(err)
	}
	server := service.NewGRPCService(socket, 5*time.Second, &wrapper{aead})
	if err := server.ListenAndServe(); err != nil {
		fail(err)
	}
}

func (w *wrapper) Status(context.Context) (*service.StatusResponse, error) {
	return &service.StatusResponse{Version: "v2", Healthz: "ok", KeyID: "go-1"}, nil
}

func (w *wrapper) Encrypt(_ context.Context, _ string, data []byte) (*service.EncryptResponse, error) {
	nonce := make([]byte, w.aead.NonceSize())
	if _, err := rand.Read(nonce); err != nil {
		return nil, err
	}
	return &service.EncryptResponse{
		Ciphertext:  w.aead.Seal(nonce, nonce, data, nil),
		KeyID:       "go-1",
		Annotations: map[string][]byte{"note.hanse.dev": []byte("hi")},
	}, nil
}

func (w *wrapper) Decrypt(_ context.Context, _ string, req *service.DecryptRequest) ([]byte, error) {
	if string(req.Annotations["note.hanse.dev"]) != "hi" || req.KeyID != "go-1" {
		return nil, fmt.Errorf("the note or the key id did not come back")
	}
	size := w.aead.NonceSize()
	if len(req.Ciphertext) < size {
		return nil, fmt.Errorf("too short")
	}
	return w.aead.Open(nil, req.Ciphertext[:size], req.Ciphertext[size:], nil)
}
