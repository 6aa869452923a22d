using Edge.Common.Configuration;
using Edge.Core.Configuration;
using Edge.Core.Host;
using Xunit;

namespace Edge.Core.Tests;

[Trait("Category", "Unit")]
public sealed class EdgeCoreConfigTests
{
    private static EdgeCoreOptions Parse(string yaml, string? data = null, params string[] set) => EdgeCoreConfig.Parse("edgecore.yaml", yaml, set, data, "Host-1");

    private static string Error(string yaml, params string[] set) => Assert.Throws<ConfigException>(() => Parse(yaml, null, set)).Message;

    [Fact]
    public void An_empty_config_has_KubeEdges_defaults()
    {
        var options = Parse("kind: EdgeCore\napiVersion: edgecore.config.kubeedge.io/v1alpha1\n");
        Assert.Equal("host-1", options.NodeName);
        Assert.Equal("/var/lib/kubeedge/edgecore.db", options.MetaManager.DatabasePath);
        Assert.Equal(("/etc/kubeedge/ca/rootCA.crt", "/etc/kubeedge/certs/server.crt", "/etc/kubeedge/certs/server.key"), (options.EdgeHub.CaFile, options.EdgeHub.CertificateFile, options.EdgeHub.KeyFile));
        Assert.Equal((15, 30, 60), (options.EdgeHub.HeartbeatSeconds, options.EdgeHub.MessageQps, options.EdgeHub.MessageBurst));
        Assert.Equal(("/etc/kubeedge/dmi.sock", "unix:///run/containerd/containerd.sock", 110), (options.DeviceTwin.DmiSockPath, options.Edged.RuntimeEndpoint, options.Edged.MaxPods));
    }

    [Fact]
    public void A_data_directory_moves_every_default_path_and_no_named_one()
    {
        var options = Parse("kind: EdgeCore\nmodules:\n  deviceTwin:\n    dmiSockPath: /run/my/dmi.sock\n", "/data/e1");
        Assert.All([options.MetaManager.DatabasePath, options.EdgeHub.CaFile, options.EdgeHub.CertificateFile, options.EdgeHub.KeyFile, options.Edged.RootDirectory, options.Edged.PodLogsDirectory, options.Edged.StaticPodPath],
            path => Assert.StartsWith("/data/e1/", path, StringComparison.Ordinal));
        Assert.Equal("/run/my/dmi.sock", options.DeviceTwin.DmiSockPath);
    }

    [Fact]
    public void The_printed_configs_are_valid_and_the_default_one_changes_nothing()
    {
        var printed = Parse(SampleConfigs.Default);
        var empty = Parse("kind: EdgeCore\n");
        Assert.Equal(empty.EdgeHub, printed.EdgeHub);
        Assert.Equal(empty.DeviceTwin, printed.DeviceTwin);
        Assert.Equal(empty.LocalApi, printed.LocalApi);
        var resources = printed.Edged.Resources;
        Assert.Equal(empty.Edged.Resources.Thresholds, resources.Thresholds);
        Assert.Empty(resources.SystemReserved.Concat(resources.KubeReserved));
        Assert.Equal(empty.Edged.Resources with { Thresholds = resources.Thresholds, SystemReserved = resources.SystemReserved, KubeReserved = resources.KubeReserved }, resources);
        Assert.Empty(printed.Edged.AllowedUnsafeSysctls);
        Assert.Equal(
            empty.Edged with { Taints = printed.Edged.Taints, NodeLabels = printed.Edged.NodeLabels, AllowedUnsafeSysctls = printed.Edged.AllowedUnsafeSysctls, Resources = resources },
            printed.Edged);
        Parse(SampleConfigs.Minimal);
    }

    [Fact]
    public void An_unknown_or_mistyped_key_is_named_with_its_line()
    {
        var error = Error("kind: EdgeCore\nmodules:\n  edgeHub:\n    hartbeat: 5\n    messageQPS: many\n");
        Assert.Contains("edgecore.yaml:4: modules.edgeHub.hartbeat: is not a known key; did you mean 'heartbeat'?", error, StringComparison.Ordinal);
        Assert.Contains("edgecore.yaml:5: modules.edgeHub.messageQPS: is 'many', must be a whole number", error, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("modules.edgeHub.websocket.server=nohost", "modules.edgeHub.websocket.server")]
    [InlineData("modules.edgeHub.httpServer=http://x", "must be an https URL")]
    [InlineData("modules.edgeHub.token=abc", "modules.edgeHub.token: is malformed: it has 1 part(s)")]
    [InlineData("modules.edgeHub.quic.server=nohost", "modules.edgeHub.quic.server: is 'nohost', must be HOST:PORT")]
    [InlineData("modules.edgeHub.websocket.enable=false", "modules.edgeHub.quic.enable to true")]
    [InlineData("modules.edged.hostnameOverride=Bad_Name", "DNS-1123")]
    [InlineData("modules.edged.cgroupDriver=x", "must be 'cgroupfs' or 'systemd'")]
    [InlineData("modules.edged.tailoredKubeletConfig.containerRuntimeEndpoint=tcp://x", "containerRuntimeEndpoint")]
    [InlineData("modules.edged.tailoredKubeletConfig.nodeStatusUpdateFrequency=soon", "must be a duration")]
    [InlineData("modules.edged.tailoredKubeletConfig.registerWithTaints=[{key: a, effect: Never}]", "must be NoSchedule")]
    [InlineData("modules.edged.tailoredKubeletConfig.systemReserved={memory: lots}", "systemReserved: has 'lots' for memory, must be a quantity")]
    [InlineData("modules.edged.tailoredKubeletConfig.kubeReserved={gpu: 1}", "kubeReserved: names 'gpu', must name cpu, memory, ephemeral-storage, pid")]
    [InlineData("modules.edged.tailoredKubeletConfig.evictionHard={disk: 10%}", "evictionHard: names 'disk', must name memory.available")]
    [InlineData("modules.edged.tailoredKubeletConfig.evictionHard={memory.available: 110%}", "must be a quantity or a percentage")]
    [InlineData("modules.edged.tailoredKubeletConfig.evictionSoft={memory.available: 1Gi}", "for which evictionSoftGracePeriod has no period")]
    [InlineData("modules.edged.tailoredKubeletConfig.imageGCHighThresholdPercent=70", "imageGCLowThresholdPercent: is 80, must not be above imageGCHighThresholdPercent, which is 70")]
    [InlineData("modules.edged.tailoredKubeletConfig.imageMinimumGCAge=soon", "must be a duration")]
    [InlineData("modules.edged.tailoredKubeletConfig.containerLogMaxFiles=1", "must be from 2 to 1000")]
    [InlineData("modules.edged.tailoredKubeletConfig.containerLogMaxSize=-1", "containerLogMaxSize: is '-1', must be a quantity above 0")]
    [InlineData("commonConfig.monitorServer.bindAddress=9092", "must be an IP address and a port")]
    [InlineData("modules.edged.tailoredKubeletConfig.address=0.0.0.0", "which others can reach")]
    [InlineData("modules.edged.tailoredKubeletConfig.address=localhost", "must be an IP address")]
    [InlineData("modules.edged.tailoredKubeletConfig.readOnlyPort=70000", "must be from 0 to 65535")]
    [InlineData("modules.edged.tailoredKubeletConfig.tlsCertFile=/x.crt", "tlsPrivateKeyFile: is empty")]
    [InlineData("modules.edged.tailoredKubeletConfig.authentication={x509: {clientCAFil: x}}", "is not a known key; did you mean 'clientCAFile'?")]
    [InlineData("kind=CloudCore", "must be 'EdgeCore'")]
    public void A_value_that_cannot_work_is_named_with_what_it_must_be(string set, string says)
        => Assert.Contains(says, Error("kind: EdgeCore\n", set), StringComparison.Ordinal);

    [Fact]
    public void Quic_is_tried_first_where_it_is_enabled_and_may_be_the_only_way()
    {
        var both = Parse("kind: EdgeCore\nmodules: {edgeHub: {quic: {enable: true, server: \"192.0.2.1:10001\", handshakeTimeout: 30, readDeadline: 15, writeDeadline: 20}}}\n").EdgeHub;
        Assert.Equal((true, new EdgeQuicOptions { Enable = true, Server = "192.0.2.1:10001", HandshakeTimeoutSeconds = 30, WriteDeadlineSeconds = 20 }), (both.WebSocketEnable, both.Quic));
        Assert.False(Parse("kind: EdgeCore\nmodules: {edgeHub: {websocket: {enable: false}, quic: {enable: true}}}\n").EdgeHub.WebSocketEnable);
        Assert.False(Parse("kind: EdgeCore\n").EdgeHub.Quic.Enable);
    }

    // What the files of KubeEdge's releases hold that is needless here, or was spelled otherwise once: nobody who switches edits a file for it.
    [Fact]
    public void Config_files_of_KubeEdge_1_10_to_1_23_are_taken_as_they_are()
    {
        var options = Parse("""
            apiVersion: edgecore.config.kubeedge.io/v1alpha2
            kind: EdgeCore
            edgecoreVersion: v1.23.0
            featureGates: {requireAuthorization: false}
            modules:
              edged:
                annotations: {a: b}
                clusterDNS: 169.254.96.16
                clusterDomain: site.local
                cniCacheDir: /var/lib/cni/cache
                dockerEndpoint: unix:///var/run/docker.sock
                dockershimRootDirectory: /var/lib/dockershim
                edgeCoreCgroups: ""
                experimentalCheckNodeCapabilitiesBeforeMount: true
                experimentalNodeAllocatableIgnoreEvictionThreshold: false
                kubeConfig: ""
                kubeletConfigFile: ""
                nonMasqueradeCidr: 10.0.0.0/8
                registerWithTaints: [{Key: edge, Value: "yes", Effect: NoExecute, TimeAdded: null}]
                seccompProfileRoot: /var/lib/kubelet/seccomp
                systemCgroups: ""
                tailoredKubeletConfig:
                  clusterDNS: null
                  enableContentionProfiling: true
                  evictionHard: null
                  healthzBindAddress: 127.0.0.1
                  healthzPort: 10248
                  kubeAPIBurst: 10
                  kubeAPIQPS: 5
                  providerID: x
                  singleProcessOOMKill: true
              metaManager:
                podStatusSyncInterval: 60
                metaServer:
                  enable: true
                  apiAudiences: null
                  serviceAccountKeyFiles: null
                  tlsCaFile: /etc/kubeedge/ca/rootCA.crt
                  tlsCertFile: /etc/kubeedge/certs/server.crt
                  tlsPrivateKeyFile: /etc/kubeedge/certs/server.key
            """);
        Assert.Equal(("169.254.96.16", "site.local"), (options.Edged.ClusterDns, options.Edged.ClusterDomain));
        Assert.Equal(new NodeTaint("edge", "yes", "NoExecute"), Assert.Single(options.Edged.Taints));
        Assert.Equal(Parse("kind: EdgeCore\n").Edged.Resources.Thresholds, options.Edged.Resources.Thresholds);
        var server = options.MetaManager.MetaServer;
        Assert.Empty(server.ApiAudiences.Concat(server.ServiceAccountKeyFiles));
        // The hub's client certificate is nothing to serve with.
        Assert.Equal(("", ""), (server.TlsCertificateFile, server.TlsKeyFile));
        Assert.Contains(options.Notes, note => note.StartsWith("modules.metaManager.metaServer.tlsCertFile names the node's client certificate", StringComparison.Ordinal));
    }

    [Fact]
    public void A_certificate_to_serve_with_is_kept_unless_it_is_the_hubs()
    {
        const string Server = "kind: EdgeCore\nmodules: {edgeHub: {tlsCertFile: /x/hub.crt}, metaManager: {metaServer: {tlsCertFile: /x/NAME.crt, tlsPrivateKeyFile: /x/NAME.key}}}\n";
        Assert.Equal("/x/api.crt", Parse(Server.Replace("NAME", "api", StringComparison.Ordinal)).MetaManager.MetaServer.TlsCertificateFile);
        Assert.Equal("", Parse(Server.Replace("NAME", "hub", StringComparison.Ordinal)).MetaManager.MetaServer.TlsCertificateFile);
    }

    [Theory]
    [InlineData("mesh", "127.0.0.1:10550", "metaServer.httpServiceAccount: is 'mesh', must be NAMESPACE/NAME")]
    [InlineData("a/b/c", "127.0.0.1:10550", "must be NAMESPACE/NAME")]
    [InlineData("kubeedge/mesh", "0.0.0.0:10550", "that must be a loopback address then")]
    [InlineData("kubeedge/mesh", "[::1]:10550", "")]
    public void Plain_HTTP_takes_an_account_and_a_loopback_address(string account, string server, string problem)
    {
        var config = $"kind: EdgeCore\nmodules: {{metaManager: {{metaServer: {{httpServiceAccount: {account}, server: '{server}'}} }} }}\n";
        if (problem.Length > 0)
            Assert.Contains(problem, Error(config), StringComparison.Ordinal);
        else
            Assert.Equal(account, Parse(config).MetaManager.MetaServer.HttpServiceAccount);
    }

    [Fact]
    public void A_malformed_token_is_not_repeated_in_the_error()
        => Assert.DoesNotContain("topsecret", Error("kind: EdgeCore\n", "modules.edgeHub.token=topsecret"), StringComparison.Ordinal);

    [Fact]
    public void Node_settings_are_read()
    {
        var edged = Parse("""
            kind: EdgeCore
            modules:
              edged:
                nodeLabels: {line: "2"}
                tailoredKubeletConfig:
                  evictionHard: {memory.available: 100Mi}
                  nodeStatusUpdateFrequency: 1m30s
                  registerWithTaints:
                    - {key: edge, value: "1", effect: NoExecute}
                  containerRuntimeEndpoint: /run/x.sock
            """).Edged;
        Assert.Equal("2", edged.NodeLabels["line"]);
        Assert.Equal(new NodeTaint("edge", "1", "NoExecute"), Assert.Single(edged.Taints));
        Assert.Equal((90, "/run/x.sock"), (edged.NodeStatusUpdateFrequencySeconds, edged.RuntimeSocketPath));
    }

    [Fact]
    public void The_local_API_has_KubeEdges_address_and_its_token_beside_the_database()
    {
        Assert.Equal(new LocalApiOptions(), Parse("kind: EdgeCore\n").LocalApi);
        Assert.Equal("/data/e1/localapi.token", Parse("kind: EdgeCore\n", "/data/e1").LocalApi.TokenFile);
        Assert.Equal("/srv/localapi.token", Parse("kind: EdgeCore\n", "/data/e1", "database.dataSource=/srv/edge.db").LocalApi.TokenFile);
        var open = Parse("kind: EdgeCore\n", null, "modules.edged.tailoredKubeletConfig.address=0.0.0.0", "modules.edged.tailoredKubeletConfig.tlsCertFile=/x.crt",
            "modules.edged.tailoredKubeletConfig.tlsPrivateKeyFile=/x.key", "modules.edged.tailoredKubeletConfig.authentication={anonymous: {enabled: true}, x509: {clientCAFile: /ca.crt}}");
        Assert.Equal(("0.0.0.0", "/x.crt", "/x.key", "/ca.crt"), (open.LocalApi.Address, open.LocalApi.TlsCertificateFile, open.LocalApi.TlsKeyFile, open.LocalApi.ClientCaFile));
        Assert.Contains(open.Notes, note => note.Contains("anonymous.enabled has no effect", StringComparison.Ordinal));
    }

    [Fact]
    public void Resource_settings_are_read_as_a_kubelet_reads_them()
    {
        const string Text = """
            kind: EdgeCore
            modules:
              edged:
                tailoredKubeletConfig:
                  systemReserved: {cpu: 200m, memory: 256Mi}
                  evictionHard: {memory.available: 200Mi, nodefs.available: 0%, pid.available: 5%}
                  evictionSoft: {memory.available: 10%}
                  evictionSoftGracePeriod: {memory.available: 1m30s}
                  evictionMinimumReclaim: {memory.available: 50Mi}
                  containerLogMaxSize: 1Mi
                  containerLogMonitorInterval: 3s
            """;
        var resources = Parse(Text).Edged.Resources;
        Assert.Equal(200, resources.SystemReserved["cpu"].MilliValue);
        Assert.Equal(
            [
                new EvictionThreshold("memory.available", new EvictionAmount(200 << 20, 0), TimeSpan.Zero, new EvictionAmount(50 << 20, 0)),
                new EvictionThreshold("pid.available", new EvictionAmount(0, 0.05)),
                new EvictionThreshold("memory.available", new EvictionAmount(0, 0.1), TimeSpan.FromSeconds(90), new EvictionAmount(50 << 20, 0)),
            ],
            resources.Thresholds);
        Assert.Equal((1L << 20, TimeSpan.FromSeconds(3)), (resources.LogSizeMax, resources.LogPeriod));
        var merged = Parse(Text + "\n      mergeDefaultEvictionSettings: true\n").Edged.Resources.Thresholds;
        Assert.Contains(merged, threshold => threshold is { Signal: "imagefs.available", Amount.Fraction: 0.15 });
        Assert.DoesNotContain(merged, threshold => threshold.Signal == "nodefs.available");
    }

    [Fact]
    public void A_setting_that_changes_nothing_is_said_to()
    {
        Assert.Equal(
            ["modules.edged.podSandboxImage has no effect: the container runtime chooses its pause image"],
            Parse("", null, "kind=EdgeCore", "apiVersion=edgecore.config.kubeedge.io/v1alpha2", "modules.edged.podSandboxImage=pause:1").Notes);
        Assert.Empty(Parse("", null, "kind=EdgeCore", "apiVersion=edgecore.config.kubeedge.io/v1alpha2", "modules.edged.podSandboxImage=kubeedge/pause:3.6").Notes);
    }

    [Fact]
    public void What_pods_may_have_and_where_static_ones_lie_is_read()
    {
        var edged = Parse("", null, "kind=EdgeCore", "apiVersion=edgecore.config.kubeedge.io/v1alpha2", "modules.edged.tailoredKubeletConfig.staticPodPath=/srv/pods",
            "modules.edged.tailoredKubeletConfig.fileCheckFrequency=5s", "modules.edged.tailoredKubeletConfig.podPidsLimit=512").Edged;
        Assert.Equal(("/srv/pods", 5, 512L), (edged.StaticPodPath, edged.FileCheckFrequencySeconds, edged.PodPidsLimit));
        var defaults = Parse("", null, "kind=EdgeCore", "apiVersion=edgecore.config.kubeedge.io/v1alpha2").Edged;
        Assert.Equal(("/etc/kubeedge/manifests", 20, -1L), (defaults.StaticPodPath, defaults.FileCheckFrequencySeconds, defaults.PodPidsLimit));
    }
}
