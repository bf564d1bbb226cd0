package controlplane

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
)

// maxPage is how many items a page has when the request says nothing, the most that one
// may ask AWS IoT for.
const maxPage = 250

// entry is an item of a list, with what it is sorted by. No two have the same key.
type entry struct {
	key  string
	item any
}

// page returns the items that follow token, at most limit of them, and the token of the
// next page, "" if there is none. A token stands for the last item, so that nothing is
// passed over when items are deleted between two pages.
func page(all []entry, descending bool, limit int, token string) (items []any, next string, err error) {
	slices.SortFunc(all, func(a, b entry) int {
		if descending {
			a, b = b, a
		}
		return strings.Compare(a.key, b.key)
	})
	after, err := base64.StdEncoding.DecodeString(token)
	if err != nil {
		return nil, "", fail("InvalidRequestException", "The marker is not valid.")
	}
	if limit == 0 {
		limit = maxPage
	}
	items = []any{} // an empty list, not null
	last := ""
	for _, e := range all {
		if token != "" && (e.key == string(after) || (e.key > string(after)) == descending) {
			continue
		}
		if len(items) == limit {
			return items, base64.StdEncoding.EncodeToString([]byte(last)), nil
		}
		items, last = append(items, e.item), e.key
	}
	return items, "", nil
}

// list is an answer with one page under name. Its parameters and its token have the names
// that the operation gives them.
func list(in input, name string, all []entry, size, token, next string) (output, error) {
	descending := in.given("ascendingOrder") && !in.flag("ascendingOrder")
	items, following, err := page(all, descending, in.number(size), in.text(token))
	if err != nil {
		return nil, err
	}
	answer := output{name: items}
	if following != "" {
		answer[next] = following
	}
	return answer, nil
}

// sortable is a number as a text that sorts as the number does.
func sortable[N int | int64](n N) string { return fmt.Sprintf("%020d", n) }
