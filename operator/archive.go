package operator

import (
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"time"
)

// maxArchive is how much of a function is read: more than any hook has.
const maxArchive = 50 << 20

// archive is what is in the ZIP archive of a function: contents by name.
type archive map[string]string

// zip packs the archive. The same contents give the same bytes.
func (a archive) zip() ([]byte, error) {
	var data bytes.Buffer
	w := zip.NewWriter(&data)
	for _, name := range slices.Sorted(maps.Keys(a)) {
		header := &zip.FileHeader{Name: name, Method: zip.Deflate}
		header.SetMode(0o644) // AWS Lambda runs it as another user
		file, err := w.CreateHeader(header)
		if err != nil {
			return nil, err
		}
		if _, err := io.WriteString(file, a[name]); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return data.Bytes(), nil
}

func unzip(data []byte) (archive, error) {
	r, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return nil, err
	}
	a := archive{}
	for _, entry := range r.File {
		if entry.FileInfo().IsDir() {
			continue
		}
		file, err := entry.Open()
		if err != nil {
			return nil, err
		}
		content, err := io.ReadAll(io.LimitReader(file, maxArchive))
		if err := errors.Join(err, file.Close()); err != nil {
			return nil, err
		}
		a[entry.Name] = string(content)
	}
	return a, nil
}

// fetch downloads an archive from the address that AWS Lambda gives, which is valid for ten
// minutes and a secret (API_FunctionCodeLocation).
func (a *Account) fetch(ctx context.Context, address string) (archive, error) {
	data, err := a.download(ctx, address)
	for attempts := 1; err != nil && attempts < 3 && a.pause(ctx, time.Second) == nil; attempts++ {
		data, err = a.download(ctx, address)
	}
	if err != nil {
		return nil, fmt.Errorf("downloading the function's code: %w", err)
	}
	found, err := unzip(data)
	if err != nil {
		return nil, fmt.Errorf("the function's code: %w", err)
	}
	return found, nil
}

func (a *Account) download(ctx context.Context, address string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, errors.New("AWS Lambda gave no usable address")
	}
	response, err := a.http.Do(request)
	if err != nil {
		return nil, withoutAddress(err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the answer is %s", response.Status)
	}
	return io.ReadAll(io.LimitReader(response.Body, maxArchive))
}
