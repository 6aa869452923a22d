namespace Edge.Core.Host;

/// <summary>What <c>--minconfig</c> and <c>--defaultconfig</c> print.</summary>
internal static class SampleConfigs
{
    public const string Minimal = """
        apiVersion: edgecore.config.kubeedge.io/v1alpha2
        kind: EdgeCore
        modules:
          edgeHub:
            httpServer: https://127.0.0.1:10002   # CloudCore's enrolment server
            token: ""                             # what 'edgectl gettoken' prints; needed once
            websocket:
              server: 127.0.0.1:10000             # CloudCore's hub
          edged:
            hostnameOverride: ""                  # the node's name; empty: this machine's host name

        """;

    public const string Default = """
        apiVersion: edgecore.config.kubeedge.io/v1alpha2
        kind: EdgeCore
        commonConfig:
          monitorServer:
            enable: true
            bindAddress: 127.0.0.1:9092           # /metrics, /healthz and /readyz; port 0 takes a free one
          tracing:
            endpoint: ""                          # OTLP over HTTP, e.g. http://127.0.0.1:4318; empty: OTEL_EXPORTER_OTLP_ENDPOINT, else no traces
        database:
          driverName: sqlite3
          aliasName: default
          dataSource: /var/lib/kubeedge/edgecore.db
        modules:
          edgeHub:
            enable: true
            heartbeat: 15                         # seconds between keepalives
            httpServer: https://127.0.0.1:10002
            token: ""
            projectID: e632aba927ea4ac2b575ec1603d56f10
            messageQPS: 30                        # messages a second from the queue; leases are exempt
            messageBurst: 60
            rotateCertificates: true
            tlsCaFile: /etc/kubeedge/ca/rootCA.crt
            tlsCertFile: /etc/kubeedge/certs/server.crt
            tlsPrivateKeyFile: /etc/kubeedge/certs/server.key
            websocket:
              enable: true
              server: 127.0.0.1:10000
              handshakeTimeout: 30
              writeDeadline: 15
            quic:                                 # tried first when enabled; needs libmsquic
              enable: false
              server: 127.0.0.1:10001
              handshakeTimeout: 5                 # seconds until the WebSocket is tried
              writeDeadline: 15
          edged:
            enable: true                          # false: no pods; the node still serves devices
            hostnameOverride: ""
            nodeIP: ""                            # empty: the address of the default route
            customInterfaceName: ""
            registerSchedulable: true
            nodeLabels: {}
            podSandboxImage: kubeedge/pause:3.6
            rootDirectory: /var/lib/kubelet
            reportEvent: false
            localAPITokenFile: ""                 # empty: localapi.token beside the database; made with mode 0600
            tailoredKubeletConfig:
              enableServer: true                  # the local API: /pods, /containerLogs, /exec, /stats/summary …
              address: 127.0.0.1                  # another than loopback needs tlsCertFile and tlsPrivateKeyFile
              readOnlyPort: 10350                 # 0 takes a free one
              tlsCertFile: ""
              tlsPrivateKeyFile: ""
              authentication:
                x509:
                  clientCAFile: ""                # client certificates of this CA, beside the token; needs TLS
              containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
              cgroupDriver: cgroupfs
              maxPods: 110
              nodeStatusUpdateFrequency: 10s
              nodeStatusReportFrequency: 5m0s
              nodeLeaseDurationSeconds: 40
              registerWithTaints: []
              systemReserved: {}                  # taken from capacity, e.g. {cpu: 200m, memory: 256Mi}
              kubeReserved: {}
              evictionHard:                       # below this much free, pods are evicted at once
                memory.available: 100Mi
                nodefs.available: 10%
                nodefs.inodesFree: 5%
                imagefs.available: 15%
                imagefs.inodesFree: 5%
              evictionSoft: {}                    # below this much free for evictionSoftGracePeriod
              evictionSoftGracePeriod: {}
              evictionMinimumReclaim: {}
              evictionPressureTransitionPeriod: 5m0s
              evictionMaxPodGracePeriod: 0
              imageGCHighThresholdPercent: 85     # of the images' disk in use: unused images go,
              imageGCLowThresholdPercent: 80      # down to this
              imageMinimumGCAge: 2m0s
              imageMaximumGCAge: 0s               # 0s: no limit
              containerLogMaxSize: 10Mi
              containerLogMaxFiles: 5
              containerLogMonitorInterval: 10s
              staticPodPath: /etc/kubeedge/manifests   # pods from files, run without the cloud
              fileCheckFrequency: 20s             # how often to look there, beside inotify
              podPidsLimit: -1                    # processes of one pod; -1: no limit
              allowedUnsafeSysctls: []            # beyond the safe ones; net.core.* allows all that begin so
          metaManager:
            enable: true
            remoteQueryTimeout: 60
            metaServer:                           # the Kubernetes API on the node
              enable: false
              server: 127.0.0.1:10550             # port 0 takes a free one
              dummyServer: 169.254.30.10:10550    # for pods with a network of their own; "" for none
              serviceAccountIssuers: [https://kubernetes.default.svc.cluster.local]
              apiAudiences: []                    # empty: the issuers
              serviceAccountKeyFiles: []          # PEM, beside the keys that the cloud tells
              httpServiceAccount: ""              # NAMESPACE/NAME: server also answers plain HTTP without a token, with this account's rights
              authorization:
                mode: Webhook                     # AlwaysAllow: every good token reads what the node holds
              tlsCertFile: ""                     # empty: made by edgecore
              tlsPrivateKeyFile: ""
              cacheMebibytes: 32                  # answers kept for when the cloud is away
          deviceTwin:
            enable: true
            dmiSockPath: /etc/kubeedge/dmi.sock
            reportWindowMs: 1000
          edgeStream:                             # kubectl's logs, exec, attach and port-forward for pods of this node
            enable: true
            server: ""                            # HOST:10004 of a stock KubeEdge cloudcore, whose tunnel is then kept; Edge's own needs none
            handshakeTimeout: 30                  # seconds
            readDeadline: 15                      # seconds without a word of the cloud, after which the tunnel is dialed anew
            writeDeadline: 15                     # seconds that the cloud may take to read a message
          eventBus:
            enable: false
            mqttMode: 2
            mqttServerInternal: tcp://127.0.0.1:1884
            mqttServerInternalTLS: ""             # ssl://IP:PORT, with serverTLS.certFile and keyFile
            mqttServerInternalWebSocket: ""       # ws://IP:PORT
            mqttServerInternalWebSocketTLS: ""    # wss://IP:PORT, with serverTLS
            mqttServerExternal: tcp://127.0.0.1:1883
            mqttQOS: 0
            mqttRetain: false
            mqttSessionQueueSize: 100
            mqttUsername: ""
            mqttPassword: ""
            broker:                               # limits of the embedded broker
              connectionsMax: 10000
              sessionsMax: 20000
              packetSizeMax: 1048576              # bytes
              receiveMaximum: 100
              inFlightMax: 100
              topicAliasMaximum: 32
              keepAliveMaxSeconds: 0              # 0: the client's
              sessionExpiryMaxSeconds: 2592000
              queuedBytesMax: 16777216            # of what waits for a session
              outgoingBytesMax: 1048576           # of what waits for a connection
              subscriptionsPerSessionMax: 10000
              retainedMax: 100000
              sysPeriodSeconds: 10                # 0: no $SYS/
              hideDenials: false
          serviceBus:                             # HTTP services of this node for Rules of the cloud, and the cloud's for them
            enable: false
            server: 127.0.0.1
            port: 9060                            # 0 takes a free one
            timeout: 60                           # seconds that a request waits for the cloud's answer
          taskManager:                            # the cloud's jobs for this node: images, config
            enable: false
            checkPercentMax: 80                   # of cpu, mem or disk in use, above which a job's check fails
            connectWithin: 120                    # seconds that a changed config has to connect; then the former one comes back
            upgrade:                              # NodeUpgradeJobs; without source and publicKey this node refuses them
              source: ""                          # https://… or file:///…; VERSION/edgecore-ARCH.tar.gz is put behind it
              publicKey: ""                       # file of the ECDSA P-256 public key of who signs packages
              caFile: ""                          # CA certificates (PEM) trusted for an https source; empty: the system's
              edgectl: edgectl
              program: ""                         # edgecore's own, where it is not the program that runs
              backupDirectory: /var/lib/edge/backups
              stopWith: ""                        # programs that stop and start edgecore where systemd does not
              startWith: ""
              readyWithin: 120                    # seconds that the new edgecore has to be ready and connected; then the former one comes back
          edgeDns:
            enable: false
            listen: [169.254.30.10:53, 127.0.0.1:10053]   # the first one is what pods ask
            clusterDomain: cluster.local
            serviceAddresses: clusterIP           # endpoints: for nodes without kube-proxy
            ttl: 5                                # seconds, of cluster names
            upstreamTimeoutMs: 1500
            cache:
              entriesMax: 10000
              staleSeconds: 86400                 # served so long beyond its time while no upstream answers

        """;
}
