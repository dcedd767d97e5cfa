// Command schema answers what Kubernetes' apiextensions-apiserver makes of a schema and its
// objects. It reads one JSON question per line and writes one JSON answer per line, in order.
//
// A question has a schema (openAPIV3Schema), a new object and perhaps an old one; the answer has
// the object as decoded and defaulted, the fields that were unknown, and the errors. Or it has a
// CustomResourceDefinition, perhaps with an old one; the answer has it defaulted, and the errors.
package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"

	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/install"
	v1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	crdvalidation "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/validation"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel/model"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/defaulting"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/listtype"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/objectmeta"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/pruning"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	"k8s.io/apiextensions-apiserver/pkg/controller/openapi/builder"
	"k8s.io/apimachinery/pkg/runtime"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	"k8s.io/apimachinery/pkg/util/validation/field"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
	"k8s.io/apiserver/pkg/cel/common"
	"k8s.io/kube-openapi/pkg/handler"
)

type question struct {
	Schema *v1.JSONSchemaProps          `json:"schema"`
	New    json.RawMessage              `json:"new"`
	Old    json.RawMessage              `json:"old"`
	CRD    *v1.CustomResourceDefinition `json:"crd"`
	OldCRD *v1.CustomResourceDefinition `json:"oldCRD"`
	// Published asks for the OpenAPI schemas of the definition's first version instead.
	Published bool `json:"published"`
}

type fieldError struct {
	Type  string `json:"type"`
	Field string `json:"field"`
	Text  string `json:"text"`
}

type answer struct {
	// Failed says why the question could not be asked.
	Failed    string       `json:"failed,omitempty"`
	Dropped   []string     `json:"dropped"`
	Pruned    any          `json:"pruned"`
	Defaulted any          `json:"defaulted"`
	Errors    []fieldError `json:"errors"`
	// Rules are the errors of x-kubernetes-validations.
	Rules []fieldError `json:"rules"`
	// V2 and V3 are the published definitions by name.
	V2 map[string]any `json:"v2,omitempty"`
	V3 map[string]any `json:"v3,omitempty"`
}

var scheme = runtime.NewScheme()

func main() {
	install.Install(scheme)
	in := bufio.NewReaderSize(os.Stdin, 1<<20)
	out := bufio.NewWriter(os.Stdout)
	for {
		line, err := in.ReadBytes('\n')
		if len(bytes.TrimSpace(line)) > 0 {
			write(out, reply(line))
		}
		if err != nil {
			break
		}
		if in.Buffered() == 0 {
			out.Flush()
		}
	}
	out.Flush()
}

func write(out *bufio.Writer, a answer) {
	text, err := json.Marshal(a)
	if err != nil {
		text, _ = json.Marshal(answer{Failed: err.Error()})
	}
	out.Write(text)
	out.WriteByte('\n')
}

func reply(line []byte) (a answer) {
	defer func() {
		if r := recover(); r != nil {
			a = answer{Failed: fmt.Sprint("panic: ", r)}
		}
	}()
	var q question
	if err := json.Unmarshal(line, &q); err != nil {
		return answer{Failed: err.Error()}
	}
	var err error
	if q.CRD != nil && q.Published {
		a, err = published(q.CRD)
	} else if q.CRD != nil {
		a, err = definition(q)
	} else {
		a, err = object(q)
	}
	if err != nil {
		return answer{Failed: err.Error()}
	}
	return a
}

func fieldErrors(list field.ErrorList) []fieldError {
	out := []fieldError{}
	for _, e := range list {
		out = append(out, fieldError{string(e.Type), e.Field, e.Error()})
	}
	return out
}

func object(q question) (answer, error) {
	internal := &apiextensions.JSONSchemaProps{}
	if err := v1.Convert_v1_JSONSchemaProps_To_apiextensions_JSONSchemaProps(q.Schema, internal, nil); err != nil {
		return answer{}, err
	}
	path := field.NewPath("openAPIV3Schema")
	structural, err := schema.NewStructural(internal)
	if err != nil {
		return answer{}, field.Invalid(path, "", err.Error())
	}
	if errs := schema.ValidateStructural(path, structural); len(errs) > 0 {
		return answer{}, errs.ToAggregate()
	}
	validator, _, err := validation.NewSchemaValidator(internal)
	if err != nil {
		return answer{}, err
	}
	var obj, old map[string]any
	if err := utiljson.Unmarshal(q.New, &obj); err != nil {
		return answer{}, err
	}
	a := answer{}
	if a.Dropped, err = decode(obj, structural); err != nil {
		return answer{}, err
	}
	a.Pruned = runtime.DeepCopyJSONValue(obj)
	defaulting.Default(obj, structural)
	a.Defaulted = obj

	ctx := context.Background()
	var errs field.ErrorList
	var options []validation.ValidationOption
	var celOptions []cel.Option
	if len(q.Old) > 0 {
		if err := utiljson.Unmarshal(q.Old, &old); err != nil {
			return answer{}, err
		}
		if _, err := decode(old, structural); err != nil {
			return answer{}, err
		}
		defaulting.Default(old, structural)
		correlated := common.NewCorrelatedObject(obj, old, &model.Structural{Structural: structural})
		options = append(options, validation.WithRatcheting(correlated))
		celOptions = append(celOptions, cel.WithRatcheting(correlated))
		errs = append(errs, validation.ValidateCustomResourceUpdate(nil, obj, old, validator, options...)...)
	} else {
		errs = append(errs, validation.ValidateCustomResource(nil, obj, validator)...)
	}
	errs = append(errs, objectmeta.Validate(nil, obj, structural, false)...)
	if old == nil || len(listtype.ValidateListSetsAndMaps(nil, structural, old)) == 0 {
		errs = append(errs, listtype.ValidateListSetsAndMaps(nil, structural, obj)...)
	}
	a.Errors = fieldErrors(errs)

	a.Rules = []fieldError{}
	if rules := cel.NewValidator(structural, true, celconfig.PerCallLimit); rules != nil {
		var previous any
		if old != nil {
			previous = old
		}
		found, _ := rules.Validate(ctx, nil, structural, obj, previous, celconfig.RuntimeCELCostBudget, celOptions...)
		a.Rules = fieldErrors(found)
	}
	return a, nil
}

// decode does what decoding a custom resource does, apart from its own metadata.
func decode(obj map[string]any, structural *schema.Structural) ([]string, error) {
	track := schema.UnknownFieldPathOptions{TrackUnknownFieldPaths: true}
	dropped := pruning.PruneWithOptions(obj, structural, true, track)
	defaulting.PruneNonNullableNullsWithoutDefaults(obj, structural)
	err, more := objectmeta.CoerceWithOptions(nil, obj, structural, false,
		objectmeta.CoerceOptions{ReturnUnknownFieldPaths: true})
	if err != nil {
		return nil, err
	}
	return append(dropped, more...), nil
}

func definition(q question) (answer, error) {
	crd, err := internalDefinition(q.CRD)
	if err != nil {
		return answer{}, err
	}
	a := answer{Defaulted: q.CRD}
	ctx := context.Background()
	if q.OldCRD == nil {
		a.Errors = fieldErrors(crdvalidation.ValidateCustomResourceDefinition(ctx, crd))
		return a, nil
	}
	old, err := internalDefinition(q.OldCRD)
	if err != nil {
		return answer{}, err
	}
	a.Errors = fieldErrors(crdvalidation.ValidateCustomResourceDefinitionUpdate(ctx, crd, old))
	return a, nil
}

// published answers the schemas that Kubernetes publishes for the first version of a definition.
func published(crd *v1.CustomResourceDefinition) (answer, error) {
	scheme.Default(crd)
	version := crd.Spec.Versions[0].Name
	v2, err := builder.BuildOpenAPIV2(crd, version, builder.Options{V2: true, IncludeSelectableFields: true})
	if err != nil {
		return answer{}, err
	}
	v3, err := builder.BuildOpenAPIV3(crd, version, builder.Options{IncludeSelectableFields: true})
	if err != nil {
		return answer{}, err
	}
	a := answer{V2: map[string]any{}, V3: map[string]any{}}
	for name, definition := range handler.PruneDefaults(v2.Definitions) {
		a.V2[name] = definition
	}
	for name, definition := range v3.Components.Schemas {
		a.V3[name] = definition
	}
	return a, nil
}

func internalDefinition(in *v1.CustomResourceDefinition) (*apiextensions.CustomResourceDefinition, error) {
	scheme.Default(in)
	out := &apiextensions.CustomResourceDefinition{}
	return out, scheme.Convert(in, out, nil)
}
