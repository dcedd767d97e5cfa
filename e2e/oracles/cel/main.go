// Command cel answers, for expressions given as JSON lines on standard input, what cel-go with
// Kubernetes' CEL environment makes of them: errors, estimated cost, value, runtime cost.
//
// It is the original that lib/cel is compared with. One line in, one line out, in order. A variable
// is described by an OpenAPI v3 schema and given as JSON; without a schema it is `dyn`.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/checker"
	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
	"github.com/google/cel-go/common/types/traits"

	utiljson "k8s.io/apimachinery/pkg/util/json"
	"k8s.io/apimachinery/pkg/util/version"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
	apiservercel "k8s.io/apiserver/pkg/cel"
	"k8s.io/apiserver/pkg/cel/common"
	"k8s.io/apiserver/pkg/cel/environment"
	"k8s.io/apiserver/pkg/cel/library"
	"k8s.io/apiserver/pkg/cel/openapi"
	"k8s.io/kube-openapi/pkg/validation/spec"
)

// variable is one input of an expression.
type variable struct {
	Schema   json.RawMessage `json:"schema,omitempty"`
	Root     bool            `json:"root,omitempty"`
	Optional bool            `json:"optional,omitempty"`
	Value    json.RawMessage `json:"value,omitempty"`
}

type request struct {
	Expr  string              `json:"expr"`
	Vars  map[string]variable `json:"vars"`
	Limit uint64              `json:"limit,omitempty"`
}

// answer is what came of it. Costs are text because they use all 64 bits.
type answer struct {
	CompileError string `json:"compileError,omitempty"`
	ProgramError string `json:"programError,omitempty"`
	Type         string `json:"type,omitempty"`
	Min          string `json:"min,omitempty"`
	Max          string `json:"max,omitempty"`
	Value        string `json:"value,omitempty"`
	Error        string `json:"error,omitempty"`
	Cost         string `json:"cost,omitempty"`
	Failure      string `json:"failure,omitempty"`
}

func main() {
	base := environment.MustBaseEnvSet(version.MajorMinor(1, 35))
	in := bufio.NewReaderSize(os.Stdin, 1<<20)
	out := bufio.NewWriter(os.Stdout)
	defer out.Flush()
	encoder := json.NewEncoder(out)
	encoder.SetEscapeHTML(false)
	for {
		line, err := in.ReadBytes('\n')
		if len(line) > 0 {
			var r request
			var a answer
			if jsonErr := json.Unmarshal(line, &r); jsonErr != nil {
				a.Failure = jsonErr.Error()
			} else {
				a = respond(base, &r)
			}
			if encodeErr := encoder.Encode(a); encodeErr != nil {
				fmt.Fprintln(os.Stderr, encodeErr)
				os.Exit(1)
			}
			if flushErr := out.Flush(); flushErr != nil {
				os.Exit(1)
			}
		}
		if err != nil {
			return
		}
	}
}

func respond(base *environment.EnvSet, r *request) (a answer) {
	defer func() {
		if p := recover(); p != nil {
			a.Failure = fmt.Sprint(p)
		}
	}()
	opts := environment.VersionedOptions{IntroducedVersion: version.MajorMinor(1, 0)}
	roots := map[string]*apiservercel.DeclType{}
	activation := map[string]any{}
	for name, v := range r.Vars {
		t := cel.DynType
		var schema common.Schema
		if v.Schema != nil {
			var s spec.Schema
			if err := json.Unmarshal(v.Schema, &s); err != nil {
				a.Failure = err.Error()
				return a
			}
			schema = &openapi.Schema{Schema: &s}
			decl := common.SchemaDeclType(schema, v.Root)
			if decl == nil {
				continue
			}
			decl = decl.MaybeAssignTypeName(name + "Type")
			opts.DeclTypes = append(opts.DeclTypes, decl)
			roots[name] = decl
			t = decl.CelType()
			if v.Root {
				schema = schema.WithTypeAndObjectMeta()
			}
		}
		if v.Optional {
			t = types.NewOptionalType(t)
		}
		opts.EnvOptions = append(opts.EnvOptions, cel.Variable(name, t))
		if v.Value == nil {
			if v.Optional {
				activation[name] = types.OptionalNone
			}
			continue
		}
		var value any
		if err := utiljson.Unmarshal(v.Value, &value); err != nil {
			a.Failure = err.Error()
			return a
		}
		if schema != nil {
			value = common.UnstructuredToVal(value, schema)
		} else {
			value = types.DefaultTypeAdapter.NativeToValue(value)
		}
		if v.Optional {
			value = types.OptionalOf(value.(ref.Val))
		}
		activation[name] = value
	}
	set, err := base.Extend(opts)
	if err != nil {
		a.Failure = err.Error()
		return a
	}
	env, err := set.Env(environment.StoredExpressions)
	if err != nil {
		a.Failure = err.Error()
		return a
	}
	ast, issues := env.Compile(r.Expr)
	if issues != nil && issues.Err() != nil {
		a.CompileError = issues.String()
		return a
	}
	a.Type = checker.FormatCELType(ast.OutputType())
	estimator := &library.CostEstimator{SizeEstimator: sizes(roots)}
	estimate, err := env.EstimateCost(ast, estimator)
	if err != nil {
		a.Failure = err.Error()
		return a
	}
	a.Min, a.Max = strconv.FormatUint(estimate.Min, 10), strconv.FormatUint(estimate.Max, 10)
	limit := r.Limit
	if limit == 0 {
		limit = celconfig.PerCallLimit
	}
	program, err := env.Program(ast,
		cel.CostLimit(limit),
		cel.CostTracking(estimator),
		cel.InterruptCheckFrequency(celconfig.CheckFrequency))
	if err != nil {
		a.ProgramError = err.Error()
		return a
	}
	result, details, err := program.Eval(activation)
	if details != nil && details.ActualCost() != nil {
		a.Cost = strconv.FormatUint(*details.ActualCost(), 10)
	}
	if err != nil {
		a.Error = err.Error()
		return a
	}
	a.Value = render(result)
	return a
}

// sizes looks sizes up in the declarations of the variables.
type sizes map[string]*apiservercel.DeclType

func (s sizes) EstimateSize(element checker.AstNode) *checker.SizeEstimate {
	path := element.Path()
	if len(path) == 0 {
		return nil
	}
	node := s[path[0]]
	if node == nil {
		return nil
	}
	for _, name := range path[1:] {
		switch name {
		case "@items", "@values":
			node = node.ElemType
		case "@keys":
			node = node.KeyType
		default:
			field, ok := node.Fields[name]
			if !ok {
				return nil
			}
			node = field.Type
		}
		if node == nil {
			return nil
		}
	}
	return &checker.SizeEstimate{Min: 0, Max: uint64(node.MaxElements)}
}

func (s sizes) EstimateCallCost(string, string, *checker.AstNode, []checker.AstNode) *checker.CallEstimate {
	return nil
}

// render writes a value so that equal values of equal types are equal text.
func render(v ref.Val) string {
	switch t := v.(type) {
	case types.Null:
		return "null"
	case types.Bool:
		return strconv.FormatBool(bool(t))
	case types.Int:
		return strconv.FormatInt(int64(t), 10)
	case types.Uint:
		return strconv.FormatUint(uint64(t), 10) + "u"
	case types.Double:
		return "d" + strconv.FormatUint(mathBits(float64(t)), 16)
	case types.String:
		return quote(string(t))
	case types.Bytes:
		return fmt.Sprintf("b%x", []byte(t))
	case types.Duration:
		return "duration " + strconv.FormatInt(int64(t.Duration), 10)
	case types.Timestamp:
		return "timestamp " + t.Time.Format(time.RFC3339Nano)
	case *types.Type:
		return "type " + t.TypeName()
	case *types.Optional:
		if !t.HasValue() {
			return "none"
		}
		return "some(" + render(t.GetValue()) + ")"
	case *types.Err:
		return "error(" + t.String() + ")"
	case traits.Lister:
		var items []string
		for i := types.Int(0); i < t.Size().(types.Int); i++ {
			items = append(items, render(t.Get(i)))
		}
		return "[" + strings.Join(items, ",") + "]"
	case traits.Mapper:
		var entries []string
		for it := t.Iterator(); it.HasNext() == types.True; {
			k := it.Next()
			if k == nil {
				continue
			}
			entries = append(entries, render(k)+":"+render(t.Get(k)))
		}
		sort.Strings(entries)
		return "{" + strings.Join(entries, ",") + "}"
	default:
		return v.Type().TypeName()
	}
}

func quote(s string) string {
	b, err := json.Marshal(s)
	if err != nil {
		return err.Error()
	}
	r := strings.NewReplacer(`\u003c`, "<", `\u003e`, ">", `\u0026`, "&", `\u2028`, "\u2028", `\u2029`, "\u2029")
	return r.Replace(string(b))
}
