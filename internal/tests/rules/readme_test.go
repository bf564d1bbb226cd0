package rules_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fleetprov/fleetprov/internal/tests/provtest"
)

// maxReadme is how many lines of a README a reader gets through.
const maxReadme = 140

func TestReadmeIsShort(t *testing.T) {
	assert.LessOrEqual(t, strings.Count(read(t, "README.md"), "\n"), maxReadme)
}

func TestReadmeLinksToEveryPage(t *testing.T) {
	readme := read(t, "README.md")
	for _, page := range pages(t) {
		if strings.HasPrefix(page, "docs/") {
			assert.Contains(t, readme, "("+page+")")
		}
	}
}

func TestPagesLinkToFilesThatExist(t *testing.T) {
	var found int
	for _, page := range pages(t) {
		for _, link := range regexp.MustCompile(`\]\(([^)]+)\)`).FindAllStringSubmatch(read(t, page), -1) {
			if strings.Contains(link[1], "://") {
				continue
			}
			found++
			file, section, _ := strings.Cut(link[1], "#")
			target := page
			if file != "" {
				target = filepath.Join(filepath.Dir(page), file)
			}
			if _, err := os.Stat(provtest.Root(t, target)); !assert.NoError(t, err, "%s links to %s", page, link[1]) {
				continue
			}
			if section != "" {
				assert.Contains(t, sections(read(t, target)), section, "%s links to %s", page, link[1])
			}
		}
	}
	assert.NotZero(t, found)
}

// sections returns the headings of a page, as they are linked to.
func sections(page string) (names []string) {
	for _, heading := range regexp.MustCompile(`(?m)^#+ (.*)$`).FindAllStringSubmatch(page, -1) {
		plain := regexp.MustCompile(`[^a-z0-9 -]`).ReplaceAllString(strings.ToLower(heading[1]), "")
		names = append(names, strings.ReplaceAll(plain, " ", "-"))
	}
	return names
}

// The package's documentation is where a reader of a page goes next: a name that it
// does not have is a name the page must not use.
func TestPagesNameWhatExists(t *testing.T) {
	var sources string
	for _, pattern := range []string{"*.go", "fleetprovtest/*.go"} {
		files, err := filepath.Glob(provtest.Root(t, pattern))
		require.NoError(t, err)
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			data, err := os.ReadFile(file)
			require.NoError(t, err)
			sources += string(data)
		}
	}
	for _, page := range pages(t) {
		if page == "README.md" || strings.HasPrefix(page, "docs/") && page != "docs/architecture.md" {
			names := regexp.MustCompile("`\\*?([A-Z]\\w+)[`(]").FindAllStringSubmatch(read(t, page), -1)
			for _, name := range names {
				if name[1] == strings.ToUpper(name[1]) || isForeign[name[1]] {
					continue // a variable of the environment, or another's name
				}
				declared := regexp.MustCompile(`(?m)^(?:func (?:\([^)]*\) )?|type |\t?)` + name[1] + `\b`)
				assert.True(t, declared.MatchString(sources), "%s: %s", page, name[1])
			}
		}
	}
}

func TestPagesNameFilesThatExist(t *testing.T) {
	exists := map[string]bool{}
	err := filepath.WalkDir(provtest.Root(t), func(_ string, entry os.DirEntry, err error) error {
		if err == nil {
			exists[entry.Name()] = true
		}
		return err
	})
	require.NoError(t, err)
	var found int
	for _, page := range pages(t) {
		for _, file := range regexp.MustCompile(`(?m)\b(\w+\.go)(?:[^.\w]|$)`).FindAllStringSubmatch(read(t, page), -1) {
			assert.True(t, exists[file[1]], "%s: %s", page, file[1])
			found++
		}
	}
	assert.Greater(t, found, 10)
}

// isForeign holds the names of crypto/tls that pages use without their package.
var isForeign = map[string]bool{"InsecureSkipVerify": true, "CurvePreferences": true, "RootCAs": true, "PrivateKey": true}

// Whoever copies a command must not find that what it names is gone.
func TestPagesGiveCommandsOnWhatExists(t *testing.T) {
	var tests string
	err := filepath.WalkDir(provtest.Root(t), func(path string, entry os.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(path, "_test.go") {
			data, readErr := os.ReadFile(path)
			tests += string(data)
			return readErr
		}
		return err
	})
	require.NoError(t, err)
	var found int
	for _, page := range pages(t) {
		for _, command := range regexp.MustCompile("go (?:-C [^ ]+ )?(?:test|run) [^`\n]*").FindAllString(read(t, page), -1) {
			found++
			module := "."
			if _, after, ok := strings.Cut(command, " -C "); ok {
				module, _, _ = strings.Cut(after, " ")
				assert.FileExists(t, provtest.Root(t, module, "go.mod"), "%s: %s", page, command)
			}
			for _, folder := range regexp.MustCompile(` \./([\w/]+)`).FindAllStringSubmatch(command, -1) {
				if folder[1] != "sim" { // which the command makes
					assert.DirExists(t, provtest.Root(t, module, folder[1]), "%s: %s", page, command)
				}
			}
			for _, selected := range regexp.MustCompile(`-(run|bench|fuzz) '?([\w|/]+)`).FindAllStringSubmatch(command, -1) {
				for name := range strings.SplitSeq(selected[2], "|") {
					name, _, _ = strings.Cut(name, "/")
					assert.Regexp(t, `func (Test|Benchmark|Fuzz)\w*`+name, tests, "%s: %s", page, command)
				}
			}
		}
	}
	assert.NotZero(t, found)
}

// pages returns the pages that are written for people, below the root.
func pages(t *testing.T) (pages []string) {
	t.Helper()
	for _, pattern := range []string{"*.md", "docs/*.md", "examples/*/*.md"} {
		found, err := filepath.Glob(provtest.Root(t, pattern))
		require.NoError(t, err)
		for _, path := range found {
			page, err := filepath.Rel(provtest.Root(t), path)
			require.NoError(t, err)
			pages = append(pages, filepath.ToSlash(page))
		}
	}
	require.Contains(t, pages, "README.md")
	require.Contains(t, pages, "docs/errors.md")
	return pages
}

// blocks returns the blocks of a page that are written in a language.
func blocks(t *testing.T, page, language string) (found []string) {
	t.Helper()
	for _, block := range regexp.MustCompile("(?s)```"+language+"\n(.*?)```").FindAllStringSubmatch(read(t, page), -1) {
		found = append(found, block[1])
	}
	return found
}

// read returns a file of the root, or below it, with the line ends of Unix.
func read(t *testing.T, file string) string {
	t.Helper()
	data, err := os.ReadFile(provtest.Root(t, file))
	require.NoError(t, err)
	return strings.ReplaceAll(string(data), "\r\n", "\n")
}
