package main

import (
	"errors"
	"fmt"
	"os"
	"strings"
)

// readPIN reads the user's PIN from a file, or else from the environment.
func readPIN(file string, getenv func(string) string) (string, error) {
	pin := getenv("TOKEN_PIN")
	if file != "" {
		data, err := os.ReadFile(file)
		if err != nil {
			return "", fmt.Errorf("reading the PIN: %w", err)
		}
		pin = strings.TrimRight(string(data), "\r\n")
	}
	if pin == "" {
		return "", errors.New("there is no PIN: set TOKEN_PIN, or name a file with -pin-file")
	}
	return pin, nil
}
