// Answers questions about server-side apply, JSON patch and strategic merge patch with the code
// that kube-apiserver links: one JSON question per line on standard input, one answer per line.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/managedfields"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
	"k8s.io/kube-openapi/pkg/validation/spec"
)

type operation struct {
	// apply, force, update
	Op      string         `json:"op"`
	Manager string         `json:"manager"`
	Object  map[string]any `json:"object"`
}

type question struct {
	// script: run operations from nothing; smp: strategic merge patch.
	Ask        string         `json:"ask"`
	Schema     map[string]any `json:"schema"`
	Operations []operation    `json:"operations"`
	Document   map[string]any `json:"document"`
	Patch      map[string]any `json:"patch"`
}

type outcome struct {
	Object map[string]any `json:"object,omitempty"`
	Error  string         `json:"error,omitempty"`
}

type answer struct {
	Outcomes []outcome `json:"outcomes,omitempty"`
	Fault    string    `json:"fault,omitempty"`
}

var gvk = schema.GroupVersionKind{Group: "x.dev", Version: "v1", Kind: "X"}

// The object is the same in every version: there is one.
type fixed struct{}

func (fixed) Convert(in, out, context any) error { return fmt.Errorf("not needed") }
func (fixed) ConvertToVersion(in runtime.Object, _ runtime.GroupVersioner) (runtime.Object, error) {
	return in, nil
}
func (fixed) ConvertFieldLabel(_ schema.GroupVersionKind, label, value string) (string, string, error) {
	return label, value, nil
}
func (fixed) Default(runtime.Object) {}
func (fixed) New(kind schema.GroupVersionKind) (runtime.Object, error) {
	object := &unstructured.Unstructured{}
	object.SetGroupVersionKind(kind)
	return object, nil
}

func converter(raw map[string]any) (managedfields.TypeConverter, error) {
	models := map[string]*spec.Schema{}
	for name, model := range raw {
		data, err := json.Marshal(model)
		if err != nil {
			return nil, err
		}
		parsed := &spec.Schema{}
		if err := json.Unmarshal(data, parsed); err != nil {
			return nil, err
		}
		models[name] = parsed
	}
	return managedfields.NewTypeConverter(models, false)
}

func script(q question) answer {
	types, err := converter(q.Schema)
	if err != nil {
		return answer{Fault: err.Error()}
	}
	manager, err := managedfields.NewDefaultCRDFieldManager(types, fixed{}, fixed{}, fixed{}, gvk, gvk.GroupVersion(), "", nil)
	if err != nil {
		return answer{Fault: err.Error()}
	}
	live := &unstructured.Unstructured{}
	live.SetGroupVersionKind(gvk)
	var out answer
	for _, op := range q.Operations {
		request := &unstructured.Unstructured{Object: runtime.DeepCopyJSON(op.Object)}
		request.SetGroupVersionKind(gvk)
		var result runtime.Object
		var err error
		switch op.Op {
		case "update":
			if live.GetUID() != "" {
				request.SetUID(live.GetUID())
			}
			result = manager.UpdateNoErrors(live.DeepCopy(), request, op.Manager)
		default:
			result, err = manager.Apply(live.DeepCopy(), request, op.Manager, op.Op == "force")
		}
		if err != nil {
			out.Outcomes = append(out.Outcomes, outcome{Error: err.Error()})
			continue
		}
		live = result.(*unstructured.Unstructured)
		// What the registry does on create, and what tells the managers that the object exists.
		live.SetUID("uid")
		seen := runtime.DeepCopyJSON(live.Object)
		forgetTimes(seen)
		out.Outcomes = append(out.Outcomes, outcome{Object: seen})
	}
	return out
}

func forgetTimes(object map[string]any) {
	entries, _, _ := unstructured.NestedSlice(object, "metadata", "managedFields")
	for _, entry := range entries {
		delete(entry.(map[string]any), "time")
	}
	if len(entries) > 0 {
		_ = unstructured.SetNestedSlice(object, entries, "metadata", "managedFields")
	}
	unstructured.RemoveNestedField(object, "metadata", "uid")
}

func strategic(q question) answer {
	data, err := json.Marshal(q.Schema["x"])
	if err != nil {
		return answer{Fault: err.Error()}
	}
	parsed := &spec.Schema{}
	if err := json.Unmarshal(data, parsed); err != nil {
		return answer{Fault: err.Error()}
	}
	lookup := strategicpatch.PatchMetaFromOpenAPIV3{Schema: parsed, SchemaList: map[string]*spec.Schema{}}
	merged, err := strategicpatch.StrategicMergeMapPatchUsingLookupPatchMeta(q.Document, q.Patch, lookup)
	if err != nil {
		return answer{Outcomes: []outcome{{Error: err.Error()}}}
	}
	return answer{Outcomes: []outcome{{Object: merged}}}
}

func respond(line []byte) (out answer) {
	defer func() {
		if fault := recover(); fault != nil {
			out = answer{Fault: fmt.Sprint(fault)}
		}
	}()
	var q question
	decoder := json.NewDecoder(strings.NewReader(string(line)))
	if err := decoder.Decode(&q); err != nil {
		return answer{Fault: err.Error()}
	}
	for i := range q.Operations {
		q.Operations[i].Object = integers(q.Operations[i].Object).(map[string]any)
	}
	if q.Ask == "smp" {
		return strategic(q)
	}
	return script(q)
}

// Kubernetes decodes whole numbers as int64; encoding/json makes floats of them.
func integers(value any) any {
	switch typed := value.(type) {
	case map[string]any:
		for key, inner := range typed {
			typed[key] = integers(inner)
		}
	case []any:
		for i, inner := range typed {
			typed[i] = integers(inner)
		}
	case float64:
		if typed == float64(int64(typed)) {
			return int64(typed)
		}
	}
	return value
}

func main() {
	in := bufio.NewReaderSize(os.Stdin, 1<<20)
	out := bufio.NewWriter(os.Stdout)
	encoder := json.NewEncoder(out)
	for {
		line, err := in.ReadBytes('\n')
		if len(line) > 0 {
			if err := encoder.Encode(respond(line)); err != nil {
				os.Exit(1)
			}
			out.Flush()
		}
		if err != nil {
			return
		}
	}
}
