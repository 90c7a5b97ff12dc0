// A stand-in of the Juju provider that knows the schema of what the modules use, and nothing else:
// OpenTofu checks configurations against it, and applies them to its own state, without a controller.
package main

import (
	"context"
	_ "embed"
	"encoding/json"
	"log"
	"regexp"
	"strings"

	"github.com/hashicorp/terraform-plugin-go/tfprotov6"
	"github.com/hashicorp/terraform-plugin-go/tfprotov6/tf6server"
	"github.com/hashicorp/terraform-plugin-go/tftypes"
)

//go:embed schema.json
var schemaText []byte

// block is a block of schema.json; Nested is empty for a whole resource.
type block struct {
	Attributes map[string]json.RawMessage
	Blocks     map[string]block
	Nested     string
	Flags      string
}

type schemas struct {
	Provider    block
	DataSources map[string]block `json:"data_sources"`
	Resources   map[string]block
}

var primitives = map[string]tftypes.Type{
	"string": tftypes.String, "number": tftypes.Number, "bool": tftypes.Bool,
}

var attributeNesting = map[string]tfprotov6.SchemaObjectNestingMode{
	"map": tfprotov6.SchemaObjectNestingModeMap,
}

var blockNesting = map[string]tfprotov6.SchemaNestedBlockNestingMode{
	"list": tfprotov6.SchemaNestedBlockNestingModeList,
	"set":  tfprotov6.SchemaNestedBlockNestingModeSet,
}

var plain = regexp.MustCompile(`^([a-z]+)([!?=~]+)$`)

func collection(kind, element string) tftypes.Type {
	switch kind {
	case "list":
		return tftypes.List{ElementType: primitives[element]}
	case "map":
		return tftypes.Map{ElementType: primitives[element]}
	case "set":
		return tftypes.Set{ElementType: primitives[element]}
	}
	panic("no such collection: " + kind)
}

// attribute reads "string!", ["map", "string", "?"], or an object with nested attributes. Its flags:
// ! required, ? optional, = computed, ~ another value makes another resource.
func attribute(name string, text json.RawMessage) *tfprotov6.SchemaAttribute {
	made := &tfprotov6.SchemaAttribute{Name: name}
	var flags, word string
	var words [3]string
	var nested block
	switch {
	case json.Unmarshal(text, &word) == nil:
		parts := plain.FindStringSubmatch(word)
		made.Type, flags = primitives[parts[1]], parts[2]
	case json.Unmarshal(text, &words) == nil:
		made.Type, flags = collection(words[0], words[1]), words[2]
	case json.Unmarshal(text, &nested) == nil:
		made.NestedType = &tfprotov6.SchemaObject{
			Attributes: attributes(nested), Nesting: attributeNesting[nested.Nested]}
		flags = nested.Flags
	default:
		panic("no attribute: " + name)
	}
	made.Required = strings.Contains(flags, "!")
	made.Optional = strings.Contains(flags, "?")
	made.Computed = strings.Contains(flags, "=")
	return made
}

func attributes(of block) []*tfprotov6.SchemaAttribute {
	var made []*tfprotov6.SchemaAttribute
	for name, text := range of.Attributes {
		made = append(made, attribute(name, text))
	}
	return made
}

func schema(of block) *tfprotov6.Schema {
	return &tfprotov6.Schema{Block: schemaBlock(of)}
}

func schemaBlock(of block) *tfprotov6.SchemaBlock {
	made := &tfprotov6.SchemaBlock{Attributes: attributes(of)}
	for name, nested := range of.Blocks {
		made.BlockTypes = append(made.BlockTypes, &tfprotov6.SchemaNestedBlock{
			TypeName: name, Block: schemaBlock(nested), Nesting: blockNesting[nested.Nested]})
	}
	return made
}

// replacing names the attributes with the flag ~.
func replacing(of block) []string {
	var found []string
	for name, text := range of.Attributes {
		if strings.HasSuffix(string(text), `~"`) {
			found = append(found, name)
		}
	}
	return found
}

// provider answers what "validate", tests with mocks, "plan" and "apply" ask, of resources alone;
// anything else is a nil pointer. What replaces a resource is found by the resource's name.
type provider struct {
	tfprotov6.ProviderServer
	known     *tfprotov6.GetProviderSchemaResponse
	replacing map[string][]string
}

func (p provider) GetProviderSchema(
	context.Context, *tfprotov6.GetProviderSchemaRequest,
) (*tfprotov6.GetProviderSchemaResponse, error) {
	return p.known, nil
}

func (p provider) GetMetadata(
	context.Context, *tfprotov6.GetMetadataRequest,
) (*tfprotov6.GetMetadataResponse, error) {
	return &tfprotov6.GetMetadataResponse{}, nil
}

func (p provider) GetResourceIdentitySchemas(
	context.Context, *tfprotov6.GetResourceIdentitySchemasRequest,
) (*tfprotov6.GetResourceIdentitySchemasResponse, error) {
	return &tfprotov6.GetResourceIdentitySchemasResponse{}, nil
}

func (p provider) ValidateProviderConfig(
	_ context.Context, request *tfprotov6.ValidateProviderConfigRequest,
) (*tfprotov6.ValidateProviderConfigResponse, error) {
	return &tfprotov6.ValidateProviderConfigResponse{PreparedConfig: request.Config}, nil
}

func (p provider) ValidateResourceConfig(
	context.Context, *tfprotov6.ValidateResourceConfigRequest,
) (*tfprotov6.ValidateResourceConfigResponse, error) {
	return &tfprotov6.ValidateResourceConfigResponse{}, nil
}

func (p provider) ValidateDataResourceConfig(
	context.Context, *tfprotov6.ValidateDataResourceConfigRequest,
) (*tfprotov6.ValidateDataResourceConfigResponse, error) {
	return &tfprotov6.ValidateDataResourceConfigResponse{}, nil
}

func (p provider) StopProvider(
	context.Context, *tfprotov6.StopProviderRequest,
) (*tfprotov6.StopProviderResponse, error) {
	return &tfprotov6.StopProviderResponse{}, nil
}

func main() {
	var all schemas
	if err := json.Unmarshal(schemaText, &all); err != nil {
		log.Fatal(err)
	}
	known := &tfprotov6.GetProviderSchemaResponse{
		Provider:          schema(all.Provider),
		ResourceSchemas:   map[string]*tfprotov6.Schema{},
		DataSourceSchemas: map[string]*tfprotov6.Schema{},
	}
	replaced := map[string][]string{}
	for name, each := range all.Resources {
		known.ResourceSchemas[name] = schema(each)
		replaced[name] = replacing(each)
	}
	for name, each := range all.DataSources {
		known.DataSourceSchemas[name] = schema(each)
	}
	serve := func() tfprotov6.ProviderServer { return provider{known: known, replacing: replaced} }
	if err := tf6server.Serve("registry.opentofu.org/juju/juju", serve); err != nil {
		log.Fatal(err)
	}
}
