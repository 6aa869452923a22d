using System.Diagnostics;
using System.Text.Json.Nodes;
using Edge.Cloud.CloudHub;
using Edge.Cloud.CloudHub.Sessions;
using Edge.Cloud.Observability;
using Edge.Cloud.SyncController;
using Edge.Common.Tracing;
using Edge.Kubernetes;
using Edge.Protocol.Messages;
using Microsoft.Extensions.Logging;

namespace Edge.Cloud.DeviceController;

/// <summary>Takes what an edge's twin module says and answers "OK" when it is written (kubeedge-wire §4.3), or 403 when the device is another node's.</summary>
internal sealed class DeviceReports(IKubeClient kube, NodeSync sync, DeviceStatusWriter writer, TimeProvider time, HubMetrics metrics, ILogger logger)
{
    /// <summary>Takes what can be taken at once.</summary>
    /// <returns>False when the device is unknown here, another one or another node's by what the watch has shown, which may be behind: then the message is for <see cref="ReceiveAsync"/>.</returns>
    public bool Receive(HubSession session, Message message)
    {
        using var span = EdgeTrace.Continue("report received", ActivityKind.Consumer, message.Trace);
        span?.SetTag("edge.node", session.Node).SetTag("edge.resource", message.Resource);

        // The edge asks for its devices after connecting; the membership it gets anyway is the answer.
        if (message.Resource == "membership/detail")
        {
            if (session.IsEdgeWire)
                Confirm(session, message);
            return true;
        }

        if (DeviceReport.TryRead(message, out var error) is not { } report)
        {
            // Answered all the same: it would not read better the next time.
            DeviceLog.BadReport(logger, session.Node, error);
            Confirm(session, message);
            return true;
        }

        return sync.Device(report.Namespace, report.Name) is { } device && TryTake(session, message, device, report);
    }

    /// <summary>Takes a report on the API's word about its device. While the API gives none, nothing is answered, and the edge's queue keeps the report.</summary>
    public async Task ReceiveAsync(HubSession session, Message message, CancellationToken cancellationToken)
    {
        var report = DeviceReport.TryRead(message, out var error) ?? throw new InvalidOperationException(error);
        JsonObject? stored;
        try
        {
            stored = await kube.TryGetAsync(ResourceKind.Device, report.Namespace, report.Name, cancellationToken);
        }
        catch (KubeException e)
        {
            DeviceLog.NotAsked(logger, session.Node, report.Namespace, report.Name, e.Message);
            return;
        }

        if (stored is not null && TryTake(session, message, DeviceFacts.Of(stored), report))
            return;
        if (stored is not null && stored.Text("spec", "nodeName") != session.Node)
        {
            metrics.Forbidden();
            DeviceLog.NotOwn(logger, session.Node, report.Namespace, report.Name);
            Refuse(session, message, $"device {report.Namespace}/{report.Name} is forbidden: it is not bound to node '{session.Node}'");
            return;
        }

        // Deleted, or deleted and made again: what its edge still had to say is not the new one's.
        DeviceLog.Unknown(logger, session.Node, report.Namespace, report.Name);
        Confirm(session, message);
    }

    private bool TryTake(HubSession session, Message message, DeviceFacts device, DeviceReport report)
    {
        if (device.Node != session.Node || (report.Uid.Length > 0 && report.Uid != device.Uid))
            return false;
        report = report with { Node = session.Node, Version = Upstream.VersionOf(session, message) };
        writer.Report(device, report, sync.DeviceProblems(report.Namespace, report.Name), () => Confirm(session, message));
        return true;
    }

    private void Confirm(HubSession session, Message message) => Answer(session, message, MessageCodec.Ok);

    // Stock edges look at the parent id alone; ours drops the report.
    private void Refuse(HubSession session, Message message, string reason)
        => Answer(session, message, JsonBytes.Of(new JsonObject
        {
            ["ErrStatus"] = new JsonObject { ["metadata"] = new JsonObject(), ["status"] = "Failure", ["message"] = reason, ["reason"] = "Forbidden", ["code"] = 403 },
        }));

    private void Answer(HubSession session, Message message, ReadOnlyMemory<byte> content)
        => session.Send(Message.Create(time, Sources.DeviceController, Groups.Twin, Operations.Response, "twin", content) with { ParentId = message.Id });
}
