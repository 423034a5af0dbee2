package config

import (
	"errors"
	"fmt"
	"reflect"
	"strings"

	"github.com/mitchellh/mapstructure"
)

// Decode sets the settings of the struct that into points to from a section: a
// connector's or a stream's Raw, or a map made by hand, where a scalar may be
// the text as it would stand in the file ("60s"). What raw does not have stays
// as it is, so a stream's section is laid over its connector's by decoding both
// into one struct; lists and maps are replaced, not merged, and what a copy of
// the struct shares with it is not touched.
//
// It does not look at required, oneof, min and max, which are about the file.
// Its errors name keys and no values.
func Decode(raw map[string]any, into any) error {
	decoder, err := mapstructure.NewDecoder(&mapstructure.DecoderConfig{
		Result:      into,
		ErrorUnused: true,
		MatchName:   func(key, field string) bool { return key == field },
		DecodeHook:  fit,
	})
	if err != nil {
		return fmt.Errorf("config: %w", err)
	}
	unshare(reflect.ValueOf(into).Elem())
	err = decoder.Decode(raw)
	if many := (*mapstructure.Error)(nil); errors.As(err, &many) {
		err = errors.New(strings.Join(many.Errors, "; "))
	}
	if err != nil {
		return fmt.Errorf("config: %w", err)
	}
	return nil
}

// fit is called for each value before mapstructure sets it. It types texts, and
// refuses what does not fit before mapstructure does, whose errors hold values.
func fit(from, to reflect.Value) (any, error) {
	t := indirect(to.Type())
	s := scalarOf(t)
	switch {
	case from.Type() == t:
	case s != nil:
		switch k := from.Kind(); {
		case k == reflect.String, k == reflect.Bool, from.CanInt(), from.CanUint(), from.CanFloat():
		default:
			return nil, errors.New("wants " + s.example)
		}
		v, ok := s.parse(fmt.Sprint(from.Interface()))
		if !ok {
			return nil, errors.New("wants " + s.example)
		}
		return v, nil
	case t.Kind() == reflect.Slice && from.Kind() != reflect.Slice:
		return nil, errors.New("wants a list")
	case t.Kind() != reflect.Slice && (from.Kind() != reflect.Map || from.Type().Key().Kind() != reflect.String):
		return nil, errors.New("wants a map")
	}
	if k := to.Kind(); (k == reflect.Slice || k == reflect.Map) && to.CanSet() {
		to.SetZero() // mapstructure would write into the one that is there
	}
	return from.Interface(), nil
}

// unshare gives the pointers of a struct targets of their own, because
// mapstructure writes through those that are there.
func unshare(v reflect.Value) {
	for i := range v.NumField() {
		field := v.Field(i)
		if field.Kind() == reflect.Pointer && !field.IsNil() && field.CanSet() {
			own := reflect.New(field.Type().Elem())
			own.Elem().Set(field.Elem())
			field.Set(own)
			field = own.Elem()
		}
		if field.Kind() == reflect.Struct {
			unshare(field)
		}
	}
}
