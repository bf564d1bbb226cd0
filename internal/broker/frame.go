package broker

import (
	"bufio"
	"io"
)

const (
	// maxPayload is the largest payload of a message, 128 KB as with AWS IoT.
	maxPayload = 128 << 10
	// maxPacket is the largest packet. It is what AWS IoT announces as its
	// Maximum Packet Size in MQTT 5.
	maxPacket = 146 << 10
)

// frame is a packet as it was sent.
type frame struct {
	first byte // type and flags
	body  []byte
}

func (f frame) packetType() byte { return f.first >> 4 }

// readFrame refuses what is too long before it takes memory for it.
func readFrame(r *bufio.Reader) (frame, error) {
	first, err := r.ReadByte()
	if err != nil {
		return frame{}, err
	}
	length, err := readRemainingLength(r)
	if err != nil {
		return frame{}, err
	}
	body := make([]byte, length)
	if _, err := io.ReadFull(r, body); err != nil {
		return frame{}, err
	}
	return frame{first, body}, nil
}

func readRemainingLength(r *bufio.Reader) (int, error) {
	// The length is a base 128 varint of at most four bytes (MQTT 3.1.1 section
	// 2.2.3).
	length, shift := 0, 0
	for {
		b, err := r.ReadByte()
		if err != nil {
			return 0, err
		}
		length |= int(b&0x7f) << shift
		switch {
		case shift > 21:
			return 0, errMalformed
		case length > maxPacket-4: // type, flags and length take four bytes then
			return 0, errTooLarge
		case b&0x80 == 0:
			return length, nil
		}
		shift += 7
	}
}
