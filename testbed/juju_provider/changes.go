package main

import (
	"context"
	"math/big"

	"github.com/hashicorp/terraform-plugin-go/tfprotov6"
	"github.com/hashicorp/terraform-plugin-go/tftypes"
)

// Changes happen in OpenTofu's state alone: what was planned counts as made.

func (p provider) ConfigureProvider(
	context.Context, *tfprotov6.ConfigureProviderRequest,
) (*tfprotov6.ConfigureProviderResponse, error) {
	return &tfprotov6.ConfigureProviderResponse{}, nil
}

func (p provider) UpgradeResourceState(
	_ context.Context, request *tfprotov6.UpgradeResourceStateRequest,
) (*tfprotov6.UpgradeResourceStateResponse, error) {
	kind := p.known.ResourceSchemas[request.TypeName].ValueType()
	state, err := request.RawState.Unmarshal(kind)
	if err != nil {
		return nil, err
	}
	upgraded, err := tfprotov6.NewDynamicValue(kind, state)
	return &tfprotov6.UpgradeResourceStateResponse{UpgradedState: &upgraded}, err
}

func (p provider) ReadResource(
	_ context.Context, request *tfprotov6.ReadResourceRequest,
) (*tfprotov6.ReadResourceResponse, error) {
	return &tfprotov6.ReadResourceResponse{NewState: request.CurrentState}, nil
}

func (p provider) PlanResourceChange(
	_ context.Context, request *tfprotov6.PlanResourceChangeRequest,
) (*tfprotov6.PlanResourceChangeResponse, error) {
	schema := p.known.ResourceSchemas[request.TypeName]
	kind := schema.ValueType()
	proposed, err := request.ProposedNewState.Unmarshal(kind)
	if err != nil || proposed.IsNull() {
		return &tfprotov6.PlanResourceChangeResponse{PlannedState: request.ProposedNewState}, err
	}
	prior, err := request.PriorState.Unmarshal(kind)
	if err != nil {
		return nil, err
	}
	planned, err := tftypes.Transform(proposed,
		func(path *tftypes.AttributePath, value tftypes.Value) (tftypes.Value, error) {
			if value.IsKnown() && value.IsNull() && isComputed(schema.Block, path) {
				return tftypes.NewValue(value.Type(), tftypes.UnknownValue), nil
			}
			return value, nil
		})
	if err != nil {
		return nil, err
	}
	state, err := tfprotov6.NewDynamicValue(kind, planned)
	return &tfprotov6.PlanResourceChangeResponse{
		PlannedState: &state, RequiresReplace: p.replaced(request.TypeName, prior, planned)}, err
}

func (p provider) ApplyResourceChange(
	_ context.Context, request *tfprotov6.ApplyResourceChangeRequest,
) (*tfprotov6.ApplyResourceChangeResponse, error) {
	kind := p.known.ResourceSchemas[request.TypeName].ValueType()
	planned, err := request.PlannedState.Unmarshal(kind)
	if err != nil {
		return nil, err
	}
	made, err := tftypes.Transform(planned,
		func(_ *tftypes.AttributePath, value tftypes.Value) (tftypes.Value, error) {
			if value.IsKnown() {
				return value, nil
			}
			return tftypes.NewValue(value.Type(), something(value.Type())), nil
		})
	if err != nil {
		return nil, err
	}
	state, err := tfprotov6.NewDynamicValue(kind, made)
	return &tfprotov6.ApplyResourceChangeResponse{NewState: &state}, err
}

// isComputed tells whether an attribute, also one in a block, may be chosen by the provider.
func isComputed(in *tfprotov6.SchemaBlock, path *tftypes.AttributePath) bool {
	var names []string
	for _, step := range path.Steps() {
		if name, ok := step.(tftypes.AttributeName); ok {
			names = append(names, string(name))
		} else if len(names) == 0 {
			return false
		}
	}
	if len(names) == 0 {
		return false
	}
	for _, nested := range in.BlockTypes {
		if len(names) == 2 && nested.TypeName == names[0] {
			in, names = nested.Block, names[1:]
			break
		}
	}
	for _, attribute := range in.Attributes {
		if len(names) == 1 && attribute.Name == names[0] {
			return attribute.Computed
		}
	}
	return false
}

// replaced lists the changed attributes that make another resource.
func (p provider) replaced(
	resource string, prior, planned tftypes.Value,
) []*tftypes.AttributePath {
	var found []*tftypes.AttributePath
	var before, after map[string]tftypes.Value
	if prior.IsNull() || prior.As(&before) != nil || planned.As(&after) != nil {
		return nil
	}
	for _, name := range p.replacing[resource] {
		if !before[name].Equal(after[name]) {
			found = append(found, tftypes.NewAttributePath().WithAttributeName(name))
		}
	}
	return found
}

// something gives a value of a type.
func something(kind tftypes.Type) any {
	switch {
	case kind.Is(tftypes.String):
		return "chosen by the provider"
	case kind.Is(tftypes.Number):
		return big.NewFloat(1)
	case kind.Is(tftypes.Bool):
		return false
	}
	return []tftypes.Value{}
}
