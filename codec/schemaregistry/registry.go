package schemaregistry

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"

	"github.com/twmb/franz-go/pkg/sr"

	"github.com/skeji/kafka"
)

// registry is one conversation with the registry, bounded by its context.
type registry struct {
	ctx    context.Context
	client *sr.Client
}

// find returns where a schema is, for who writes by it.
func (r registry) find(subject string, schema sr.Schema, register bool) (sr.SubjectSchema, error) {
	if register {
		if _, err := r.client.RegisterSchema(r.ctx, subject, schema, -1, -1); err != nil {
			return sr.SubjectSchema{}, fmt.Errorf("schemaregistry: register the schema of subject %s: %w", subject, plain(err))
		}
	}
	found, err := r.client.LookupSchema(r.ctx, subject, schema)
	if isUnknown(err) {
		return found, fmt.Errorf("schemaregistry: subject %s does not have this schema: register it, or set Config.Register: %w", subject, plain(err))
	}
	if err != nil {
		return found, fmt.Errorf("schemaregistry: look up the schema of subject %s: %w", subject, plain(err))
	}
	return found, nil
}

// byID returns the schema that a value was written by. Its errors have the class that the value's record is to have.
func (r registry) byID(id int) (sr.Schema, error) {
	schema, err := r.client.SchemaByID(r.ctx, id)
	return schema, classed(err)
}

// byGUID is byID for the other name that a schema has.
func (r registry) byGUID(guid string) (sr.Schema, error) {
	schema, err := r.client.SchemaByGUID(r.ctx, guid)
	return schema.Schema, classed(err)
}

// byVersion returns a schema that another one refers to.
func (r registry) byVersion(subject string, version int) (sr.Schema, error) {
	schema, err := r.client.SchemaByVersion(r.ctx, subject, version)
	return schema.Schema, classed(err)
}

// classed says that what the registry does not know it will not know, that no answer gets shorter, and that everything
// else may pass: outages, refused credentials, and answers of something else at that address.
func classed(err error) error {
	switch {
	case err == nil:
		return nil
	case isUnknown(err):
		return &kafka.DecodeError{Reason: errUnknownSchema.Error(), Err: errors.Join(errUnknownSchema, err)}
	case errors.Is(err, errTooLong):
		return &kafka.DecodeError{Reason: errTooLong.Error(), Err: err}
	}
	return kafka.NewTransientError("schema registry", plain(err))
}

// isUnknown tells the registry's own answer from a 404 of another server, or of a path that it does not have.
func isUnknown(err error) bool {
	answer, ok := errors.AsType[*sr.ResponseError](err)
	if !ok {
		return false
	}
	switch answer.ErrorCode {
	case sr.ErrSubjectNotFound.Code, sr.ErrVersionNotFound.Code, sr.ErrSchemaNotFound.Code:
		return true
	}
	return false
}

// plainError has a text that is fit for logs: sr's own repeats the registry's address as it is, with a password that may be in it, and
// whole pages that a proxy answers.
type plainError struct {
	text string
	err  error
}

func (e *plainError) Error() string { return e.text }
func (e *plainError) Unwrap() error { return e.err }

// maxShownMessage bounds what an error repeats of the registry's explanation: which field of a schema is incompatible, for example.
const maxShownMessage = 300

func plain(err error) error {
	if answer, ok := errors.AsType[*sr.ResponseError](err); ok {
		text := fmt.Sprintf("it answers %d %s", answer.StatusCode, http.StatusText(answer.StatusCode))
		if answer.ErrorCode != 0 { // then the message is the registry's, and no page
			text += fmt.Sprintf(", code %d: %.*s", answer.ErrorCode, maxShownMessage, answer.Message)
		}
		return &plainError{text, err}
	}
	if request, ok := errors.AsType[*url.Error](err); ok {
		return &plainError{request.Error(), err} // which has no password
	}
	if errors.Is(err, errTooLong) {
		return &plainError{errTooLong.Error(), err}
	}
	return &plainError{"its answer can't be read", err}
}
