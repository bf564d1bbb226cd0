package pyfunction

import (
	"archive/zip"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// maxUnpacked is how many bytes the files of an archive may have (gettingstarted-limits).
const maxUnpacked = 250 << 20

// CheckArchive fails if archive is not a ZIP archive of a function.
func CheckArchive(archive []byte) error {
	_, err := open(archive)
	return err
}

func open(archive []byte) (*zip.Reader, error) {
	reader, err := zip.NewReader(bytes.NewReader(archive), int64(len(archive)))
	if err != nil {
		return nil, err
	}
	for _, file := range reader.File {
		if !filepath.IsLocal(filepath.FromSlash(file.Name)) {
			return nil, fmt.Errorf("%q is outside of the archive", file.Name)
		}
	}
	return reader, nil
}

func unpack(archive []byte, dir string) error {
	reader, err := open(archive)
	if err != nil {
		return err
	}
	left := int64(maxUnpacked)
	for _, file := range reader.File {
		path := filepath.Join(dir, filepath.FromSlash(file.Name))
		if strings.HasSuffix(file.Name, "/") {
			if err := os.MkdirAll(path, 0o700); err != nil {
				return err
			}
			continue
		}
		n, err := unpackFile(file, path, left)
		if err != nil {
			return err
		}
		left -= n
	}
	return nil
}

// unpackFile returns the size of the file, which is at most limit.
func unpackFile(packed *zip.File, path string, limit int64) (int64, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return 0, err
	}
	source, err := packed.Open()
	if err != nil {
		return 0, err
	}
	defer source.Close()
	file, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return 0, err
	}
	n, err := io.Copy(file, io.LimitReader(source, limit+1))
	if err == nil && n > limit {
		err = errors.New("the files are larger than 250 MB")
	}
	return n, errors.Join(err, file.Close())
}
