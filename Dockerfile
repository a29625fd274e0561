# The operator as a static binary in an image that holds nothing else but the certificate
# authorities that public upstreams are verified with. `make verify` proves without a
# container engine that the binary needs no more.
FROM golang:1.26 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=dev
RUN make bin/claviger VERSION="$VERSION"

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /src/bin/claviger /claviger
USER 65532:65532
ENTRYPOINT ["/claviger"]
