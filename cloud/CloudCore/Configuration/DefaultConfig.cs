namespace Edge.Cloud.Configuration;

/// <summary>The YAML that <c>cloudcore --minconfig</c> and <c>--defaultconfig</c> print.</summary>
public static class DefaultConfig
{
    /// <summary>What one usually changes.</summary>
    public const string Minimal = """
        # With --minconfig one gets the settings that are usually changed; see --defaultconfig for all.
        apiVersion: cloudcore.config.kubeedge.io/v1alpha1
        kind: CloudCore
        kubeAPIConfig:
          kubeConfig: ""          # empty: cloudcore brings its own Kubernetes API
        modules:
          apiServer:
            bindAddress: 127.0.0.1
            port: 6443
          cloudHub:
            advertiseAddress: []  # IP addresses that edges dial; they go into the hub's certificate
            dnsNames: []
            nodeLimit: 500
            websocket:
              address: 0.0.0.0
              port: 10000
            https:
              address: 0.0.0.0
              port: 10002

        """;

    /// <summary>All settings with their defaults.</summary>
    public const string Full = """
        # All settings of cloudcore with their defaults.
        apiVersion: cloudcore.config.kubeedge.io/v1alpha1
        kind: CloudCore
        commonConfig:
          monitorServer:
            bindAddress: 127.0.0.1:9091   # /healthz, /readyz, /metrics, and the dashboard
          tracing:
            endpoint: ""                  # OTLP over HTTP, e.g. http://127.0.0.1:4318; empty: OTEL_EXPORTER_OTLP_ENDPOINT, else no traces
        kubeAPIConfig:
          master: ""
          kubeConfig: ""                  # empty: cloudcore brings its own Kubernetes API
          context: ""                     # of kubeConfig; empty: its current-context
          qps: 5000                       # requests a second to the cluster's API, watches left out; default: 5 x nodeLimit, 5000 at least
          burst: 10000                    # requests at once; default: 2 x qps
        modules:
          apiServer:                      # the embedded Kubernetes API; left out when kubeConfig or master is given
            bindAddress: 127.0.0.1
            port: 6443
            auditLogPath: ""              # one line of JSON a request; empty writes none
            auditLogMaxSize: 100          # MiB, after which the file is renamed
            auditLogMaxBackup: 10         # renamed files that are kept
          cloudHub:
            advertiseAddress: []          # IP addresses that edges dial; they go into the hub's certificate
            dnsNames: []                  # DNS names that edges dial
            instanceId: ""                # tells cloudcores of one cluster apart; empty: the first address that edges dial and the port
            keepaliveInterval: 30         # seconds of silence after which a node is disconnected
            nodeLimit: 500
            window: 64                    # objects sent to a node and not answered yet
            writeTimeout: 30              # seconds
            edgeCertSigningDuration: 365  # days
            tokenRefreshDuration: 12      # hours; a token is good for twice as long
            tlsCAFile: ""                 # PEM; empty: the Secret kubeedge/casecret
            tlsCAKeyFile: ""
            websocket:
              enable: true
              address: 0.0.0.0
              port: 10000
            quic:                         # needs libmsquic
              enable: false
              address: 0.0.0.0
              port: 10001
            https:
              enable: true
              address: 0.0.0.0
              port: 10002
          dynamicController:              # the API for the MetaServers of nodes
            enable: false
          edgeController:
            secretNamespaces: []          # namespaces whose Secrets may go to edges; empty: all
            secretRefreshSeconds: 0       # above 0: Secrets that pods name are read one by one, so often, and none is listed or watched
          cloudStream:                    # the kubelet's endpoint of edge nodes, for the API servers of a cluster (docs/cluster.md)
            enable: false
            address: 0.0.0.0
            streamPort: 10003
            tunnel: false                 # the tunnel that stock KubeEdge edges dial for logs and exec; default: as enable says
            tunnelPort: 10004
            tlsStreamCAFile: ""           # PEM: the CA of the API server's client certificate; empty: as the cluster tells it
            tlsStreamCertFile: ""         # PEM; empty: the hub's certificate
            tlsStreamPrivateKeyFile: ""
            clientNames: [kube-apiserver-kubelet-client]   # who may call, beside the group system:masters
            nodeAddress: ""               # IP at which API servers reach this; goes into the status of edge nodes
            nodeDomain: ""                # DNS domain in which NODE.DOMAIN leads API servers here; the Hostname of edge nodes
            peerAddress: ""               # IP at which other cloudcores reach this one; empty: instanceId, else the first advertised address
          router:                         # messages between HTTP services in the cloud and applications at edges, by Rules
            enable: false
            address: 0.0.0.0
            port: 9443
            restTimeout: 60               # seconds that a request waits for the edge's answer
            insecure: false               # true: plain HTTP without authentication, as KubeEdge's
            allowTargets: []              # hosts, addresses and networks of this machine and its link to which Rules may lead, e.g. [127.0.0.0/8]
          taskManager:                    # jobs of operations.kubeedge.io for edge nodes (docs/nodetasks.md)
            enable: false
          dashboard:                      # the web page on monitorServer's address
            enable: true                  # default: only where the address is loopback or tokenFile is set
            tokenFile: ""                 # mode 0600, first line the token asked for; needed where the address is not loopback
          gslb:                           # authoritative DNS from Zone, GlobalService and LocationMap
            enable: false
            address: 0.0.0.0
            port: 53                      # UDP and TCP
            ecsResolvers: []              # resolvers whose client subnets are believed, e.g. [192.0.2.53, 10.0.0.0/8]
            nsid: ""                      # how this server calls itself when asked (RFC 5001)
            responsesPerSecond: 0         # equal answers over UDP to one client network; 0: no limit

        """;
}
