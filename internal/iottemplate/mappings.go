package iottemplate

// mappings are two-level maps: mapping, key, name and its value, a string,
// number or bool or an array of them.
type mappings map[string]map[string]map[string]any

// parseMappings refuses functions: a template cannot use them in its Mappings
// section (provision-template).
func parseMappings(section any) (mappings, error) {
	all := mappings{}
	if section == nil {
		return all, nil
	}
	tables, err := members("Mappings", section)
	if err != nil {
		return nil, err
	}
	for _, table := range sorted(tables) {
		place := "Mappings." + table
		keys, err := members(place, tables[table])
		if err != nil {
			return nil, err
		}
		all[table] = map[string]map[string]any{}
		for _, key := range sorted(keys) {
			place := place + "." + key
			entries, err := members(place, keys[key])
			if err != nil {
				return nil, err
			}
			for _, name := range sorted(entries) {
				if !mappable(entries[name]) {
					return nil, at(place+"."+name, "must be a string, number or bool or an array of them, not %s", describe(entries[name]))
				}
			}
			all[table][key] = entries
		}
	}
	return all, nil
}

func mappable(value any) bool {
	list, ok := value.([]any)
	if !ok {
		return scalar(value)
	}
	for _, element := range list {
		if !scalar(element) {
			return false
		}
	}
	return true
}
