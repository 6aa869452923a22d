using System.Text.Json.Nodes;
using Edge.Core.Configuration;

namespace Edge.Core.Edged.LocalApi;

/// <summary>The effective configuration for <c>/configz</c>. Written out by hand, so that a new option is not shown before somebody decided that it is no secret.</summary>
internal static class ConfigView
{
    /// <summary>As a kubelet's, under <c>kubeletconfig</c>, with EdgeCore's own keys beside it under <c>edgecore</c>. The join token is left out.</summary>
    public static JsonObject Build(EdgeCoreOptions options)
    {
        var (edged, api, hub) = (options.Edged, options.LocalApi, options.EdgeHub);
        var labels = new JsonObject();
        foreach (var (key, value) in edged.NodeLabels)
            labels[key] = value;
        return new JsonObject
        {
            ["kubeletconfig"] = new JsonObject
            {
                ["kind"] = "KubeletConfiguration",
                ["apiVersion"] = "kubelet.config.k8s.io/v1beta1",
                ["enableServer"] = api.Enable,
                ["address"] = api.Address,
                ["readOnlyPort"] = api.Port,
                ["tlsCertFile"] = api.TlsCertificateFile,
                ["tlsPrivateKeyFile"] = api.TlsKeyFile,
                ["authentication"] = new JsonObject
                {
                    ["anonymous"] = new JsonObject { ["enabled"] = false },
                    ["x509"] = new JsonObject { ["clientCAFile"] = api.ClientCaFile },
                },
                ["containerRuntimeEndpoint"] = edged.RuntimeEndpoint,
                ["cgroupDriver"] = edged.CgroupDriver,
                ["maxPods"] = edged.MaxPods,
                ["podLogsDir"] = edged.PodLogsDirectory,
                ["staticPodPath"] = edged.StaticPodPath,
                ["fileCheckFrequency"] = $"{edged.FileCheckFrequencySeconds}s",
                ["podPidsLimit"] = edged.PodPidsLimit,
                ["allowedUnsafeSysctls"] = new JsonArray([.. edged.AllowedUnsafeSysctls.Select(one => (JsonNode)one)]),
                ["clusterDNS"] = new JsonArray([.. edged.ClusterDns.Split(',', StringSplitOptions.RemoveEmptyEntries).Select(one => (JsonNode)one)]),
                ["clusterDomain"] = edged.ClusterDomain,
                ["nodeStatusUpdateFrequency"] = $"{edged.NodeStatusUpdateFrequencySeconds}s",
                ["nodeStatusReportFrequency"] = $"{edged.NodeStatusReportFrequencySeconds}s",
                ["nodeLeaseDurationSeconds"] = edged.NodeLeaseDurationSeconds,
                ["registerWithTaints"] = new JsonArray([.. edged.Taints.Select(taint => (JsonNode)new JsonObject { ["key"] = taint.Key, ["value"] = taint.Value, ["effect"] = taint.Effect })]),
            },
            ["edgecore"] = new JsonObject
            {
                ["nodeName"] = options.NodeName,
                ["dataDir"] = options.DataDirectory,
                ["database"] = new JsonObject { ["dataSource"] = options.MetaManager.DatabasePath },
                ["monitorServer"] = new JsonObject { ["enable"] = options.Monitor.Enable, ["bindAddress"] = options.Monitor.BindAddress },
                ["edgeHub"] = new JsonObject
                {
                    ["enable"] = hub.Enable,
                    ["websocket"] = new JsonObject { ["server"] = hub.Server, ["handshakeTimeout"] = hub.HandshakeTimeoutSeconds, ["writeDeadline"] = hub.WriteDeadlineSeconds },
                    ["httpServer"] = hub.HttpServer,
                    ["projectID"] = hub.ProjectId,
                    ["heartbeat"] = hub.HeartbeatSeconds,
                    ["messageQPS"] = hub.MessageQps,
                    ["messageBurst"] = hub.MessageBurst,
                    ["edgeWireQPS"] = hub.EdgeWireQps,
                    ["rotateCertificates"] = hub.RotateCertificates,
                    ["tlsCaFile"] = hub.CaFile,
                    ["tlsCertFile"] = hub.CertificateFile,
                    ["tlsPrivateKeyFile"] = hub.KeyFile,
                },
                ["edged"] = new JsonObject
                {
                    ["enable"] = edged.Enable,
                    ["rootDirectory"] = edged.RootDirectory,
                    ["podSandboxImage"] = edged.PodSandboxImage,
                    ["nodeIP"] = edged.NodeIp,
                    ["customInterfaceName"] = edged.CustomInterfaceName,
                    ["registerSchedulable"] = edged.RegisterSchedulable,
                    ["reportEvent"] = edged.ReportEvent,
                    ["nodeLabels"] = labels,
                    ["localAPITokenFile"] = api.TokenFile,
                },
                ["metaManager"] = new JsonObject { ["remoteQueryTimeout"] = options.MetaManager.RemoteQueryTimeoutSeconds },
                ["deviceTwin"] = new JsonObject { ["enable"] = options.DeviceTwin.Enable, ["dmiSockPath"] = options.DeviceTwin.DmiSockPath },
            },
        };
    }
}
