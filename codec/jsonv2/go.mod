module github.com/skeji/kafka/codec/jsonv2

go 1.26.0

require (
	github.com/go-json-experiment/json v1.27.2
	github.com/skeji/kafka v0.2.0
)

require (
	github.com/caarlos0/env/v11 v11.4.2 // indirect
	github.com/google/uuid v1.6.0 // indirect
	github.com/klauspost/compress v1.20.3 // indirect
	github.com/pierrec/lz4/v4 v4.1.33 // indirect
	github.com/twmb/franz-go v1.22.2 // indirect
	github.com/twmb/franz-go/pkg/kmsg v1.15.0 // indirect
	github.com/twmb/franz-go/plugin/kslog v1.0.0 // indirect
	golang.org/x/time v0.16.0 // indirect
)

replace github.com/skeji/kafka => ../..
