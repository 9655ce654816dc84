# syntax=docker/dockerfile:1

# dev    live reload of the mounted source (docker-compose.yml)
# build  compiles for the target platform on the builder's own
# final  the binary, certificates and nothing else

ARG GO_VERSION=1.26.8

FROM --platform=$BUILDPLATFORM golang:${GO_VERSION}-alpine AS base
ENV CGO_ENABLED=0 GOCACHE=/go/build GOFLAGS=-buildvcs=false GOMODCACHE=/go/pkg/mod
WORKDIR /src

FROM base AS dev
ARG AIR_VERSION=v1.67.4
RUN go install github.com/air-verse/air@${AIR_VERSION}
EXPOSE 3000 3001
CMD ["air", "-c", "deploy/air.toml"]

FROM base AS build
COPY go.mod go.sum ./
RUN --mount=type=cache,target=/go/pkg/mod go mod download
COPY . .
ARG TARGETARCH TARGETOS VERSION=dev
RUN --mount=type=cache,target=/go/build --mount=type=cache,target=/go/pkg/mod \
    GOARCH=${TARGETARCH} GOOS=${TARGETOS} \
    go build -trimpath -pgo=deploy/sendlog.pgo -ldflags "-s -w -X main.version=${VERSION}" -o /out/sendlog ./cmd/sendlog \
    && mkdir /out/data

FROM scratch AS final
# To tell Meta from somebody else.
COPY --from=base /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /out/sendlog /sendlog
# The root may be mounted read-only: /data is the only place written to.
COPY --from=build --chown=65532:65532 /out/data /data
ENV DATA_DIR=/data HOST=0.0.0.0
VOLUME /data
USER 65532:65532
EXPOSE 3000 3001
ENTRYPOINT ["/sendlog"]
CMD ["serve"]
