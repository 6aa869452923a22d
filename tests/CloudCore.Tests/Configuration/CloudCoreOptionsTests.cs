using Edge.Cloud.Configuration;
using Edge.Common.Configuration;

namespace Edge.Cloud.Tests;

[Trait("Category", "Unit")]
public sealed class CloudCoreOptionsTests
{
    [Fact]
    public void Empty_config_has_KubeEdges_defaults()
    {
        var options = Read("");
        Assert.Equal(
            (10000, 10002, 9091, 6443, 500, 30.0, true),
            (options.WebSocket.Port, options.Https.Port, options.Monitor.Port, options.ApiServer.Port, options.NodeLimit, options.Keepalive.TotalSeconds, options.ApiServer.IsEnabled));
    }

    [Theory]
    [InlineData(DefaultConfig.Minimal)]
    [InlineData(DefaultConfig.Full)]
    public void Printed_configs_are_valid_and_are_the_defaults(string yaml)
    {
        var (printed, absent) = (Read(yaml), Read(""));
        Assert.Equal((absent.WebSocket, absent.Https, absent.Monitor, absent.ApiServer), (printed.WebSocket, printed.Https, printed.Monitor, printed.ApiServer));
        Assert.Equal((absent.RequestsPerSecond, absent.RequestBurst, absent.Context), (printed.RequestsPerSecond, printed.RequestBurst, printed.Context));
        Assert.Equal(absent.Gslb with { EcsResolvers = [] }, printed.Gslb with { EcsResolvers = [] });
    }

    [Fact]
    public void Config_of_stock_KubeEdge_is_accepted()
    {
        var options = Read("""
            apiVersion: cloudcore.config.kubeedge.io/v1alpha2
            kind: CloudCore
            commonConfig:
              tunnelPort: 10351
              monitorServer: {bindAddress: "127.0.0.1:9095", enableProfiling: false}
            featureGates: {}
            kubeAPIConfig: {contentType: application/vnd.kubernetes.protobuf, qps: 100, burst: 200, master: "", kubeConfig: /root/.kube/config}
            modules:
              cloudHub:
                advertiseAddress: [10.0.0.1]
                dnsNames: [""]
                edgeCertSigningDuration: 365
                tokenRefreshDuration: 12
                keepaliveInterval: 30
                nodeLimit: 1000
                authorization: {enable: false, debug: true, modes: [{node: {enable: true}}]}
                quic: {enable: false, address: 0.0.0.0, port: 10001, maxIncomingStreams: 10000}
                unixsocket: {enable: true, address: "unix:///var/lib/kubeedge/kubeedge.sock"}
                websocket: {enable: true, port: 10000, address: 0.0.0.0}
                https: {enable: true, port: 10002, address: 0.0.0.0}
              edgeController: {enable: true, nodeUpdateFrequency: 10, buffer: {updatePodStatus: 1024}, load: {updatePodStatusWorkers: 1}}
              deviceController: {enable: true}
              syncController: {enable: true}
              dynamicController: {enable: false}
              cloudStream: {enable: false, streamPort: 10003}
              router: {enable: false}
              taskManager: {enable: false}
              iptablesManager: {enable: true, mode: internal}
            """);
        Assert.Equal(("/root/.kube/config", false, 1000, 9095), (options.Kubeconfig, options.ApiServer.IsEnabled, options.NodeLimit, options.Monitor.Port));
        Assert.Equal((100, 200), (options.RequestsPerSecond, options.RequestBurst));
        Assert.Empty(options.DnsNames);
    }

    [Theory]
    [InlineData("", 5000, 10_000)]
    [InlineData("modules: {cloudHub: {nodeLimit: 10000}}", 50_000, 100_000)]
    [InlineData("kubeAPIConfig: {qps: 30}", 30, 60)]
    [InlineData("kubeAPIConfig: {qps: 30, burst: 7}", 30, 7)]
    public void The_rate_of_requests_grows_with_the_node_limit_until_it_is_set(string yaml, int perSecond, int burst)
    {
        var options = Read(yaml);
        Assert.Equal((perSecond, burst), (options.RequestsPerSecond, options.RequestBurst));
    }

    [Theory]
    [InlineData("modules:\n  cloudHub:\n    nodeLimt: 3", "test:3: modules.cloudHub.nodeLimt: is not a known key; did you mean 'nodeLimit'?")]
    [InlineData("modules:\n  cloudHub:\n    websocket:\n      port: high", "test:4: modules.cloudHub.websocket.port: is 'high', must be a whole number")]
    [InlineData("kind: EdgeCore", "test:1: kind: is 'EdgeCore', must be 'CloudCore'")]
    [InlineData("modules:\n  cloudHub:\n    advertiseAddress: [host]", "'host' is not an IP address")]
    [InlineData("modules:\n  cloudHub:\n    quic:\n      port: 70000", "modules.cloudHub.quic.port: is 70000")]
    [InlineData("modules:\n  apiServer:\n    enable: false", "modules.apiServer.enable: is false and kubeAPIConfig.kubeConfig is empty")]
    [InlineData("kubeAPIConfig:\n  qps: 0", "test:2: kubeAPIConfig.qps: is 0")]
    [InlineData("kubeAPIConfig:\n  context: a", "test:2: kubeAPIConfig.context: is given without kubeAPIConfig.kubeConfig")]
    [InlineData("modules:\n  gslb:\n    ecsResolver: []", "modules.gslb.ecsResolver: is not a known key; did you mean 'ecsResolvers'?")]
    [InlineData("modules:\n  gslb:\n    ecsResolvers: [resolver]", "modules.gslb.ecsResolvers: 'resolver' is no address and no network")]
    [InlineData("modules:\n  gslb:\n    address: everywhere", "modules.gslb.address: 'everywhere' is not an IP address, e.g. 0.0.0.0")]
    [InlineData("modules:\n  router:\n    restTimout: 5", "modules.router.restTimout: is not a known key; did you mean 'restTimeout'?")]
    [InlineData("modules:\n  router:\n    address: all", "modules.router.address: 'all' is not an IP address, e.g. 0.0.0.0")]
    [InlineData("modules:\n  router:\n    allowTargets: [127.0.0.0/40]", "modules.router.allowTargets: '127.0.0.0/40' is no host name, no address and no network")]
    [InlineData("commonConfig:\n  monitorServer:\n    bindAddress: nine", "'nine' is not <IP address>:<port>")]
    public void Wrong_settings_are_errors_that_name_key_and_line(string yaml, string error)
    {
        var thrown = Assert.Throws<ConfigException>(() => Read(yaml));
        Assert.Contains(error, thrown.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Quic_is_off_and_where_KubeEdge_has_it_until_it_is_set()
    {
        Assert.Equal(new ListenOn(false, "0.0.0.0", 10001, "modules.cloudHub.quic.port"), Read("kind: CloudCore").Quic);
        Assert.Equal(
            new ListenOn(true, "127.0.0.1", 1234, "modules.cloudHub.quic.port"),
            Read("modules:\n  cloudHub:\n    quic: {enable: true, address: 127.0.0.1, port: 1234, maxIncomingStreams: 10000}").Quic);
    }

    [Fact]
    public void Set_overrides_the_file()
        => Assert.Equal(7, CloudCoreOptions.Read(ConfigFile.Parse("test", "modules: {cloudHub: {nodeLimit: 3}}", ["modules.cloudHub.nodeLimit=7"])).NodeLimit);

    private static CloudCoreOptions Read(string yaml)
    {
        var file = ConfigFile.Parse("test", yaml, []);
        var options = CloudCoreOptions.Read(file);
        file.ThrowIfInvalid();
        return options;
    }
}
