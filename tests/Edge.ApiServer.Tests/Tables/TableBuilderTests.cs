using System.Text.Json.Nodes;
using Edge.ApiServer.Schema;
using Edge.ApiServer.Tables;
using Edge.Kubernetes;
using Xunit;

namespace Edge.ApiServer.Tests;

[Trait("Category", "Kubernetes")]
public sealed class TableBuilderTests
{
    private static readonly DateTimeOffset s_now = new(2026, 1, 1, 12, 0, 0, TimeSpan.Zero);

    [Theory]
    [InlineData(0, "0s")]
    [InlineData(-5, "<invalid>")]
    [InlineData(119, "119s")]
    [InlineData(185, "3m5s")]
    [InlineData(180, "3m")]
    [InlineData(1500, "25m")]
    [InlineData(15000, "4h10m")]
    [InlineData(108000, "30h")]
    [InlineData(273600, "3d4h")]
    [InlineData(7776000, "90d")]
    [InlineData(66096000, "2y35d")]
    [InlineData(283824000, "9y")]
    public void Ages_are_written_as_Kubernetes_does(long seconds, string expected) => Assert.Equal(expected, HumanDuration.Format(TimeSpan.FromSeconds(seconds)));

    [Theory]
    [InlineData("""{"phase":"Running","containerStatuses":[{"name":"a","ready":true,"restartCount":0,"state":{"running":{}}}],"podIP":"10.0.0.1"}""", "web|1/1|Running|0|2m30s|10.0.0.1|n1|<none>|<none>")]
    [InlineData("""{"phase":"Running","containerStatuses":[{"name":"a","restartCount":3,"state":{"waiting":{"reason":"CrashLoopBackOff"}},"lastState":{"terminated":{"finishedAt":"2026-01-01T11:57:55Z"}}}]}""", "web|0/1|CrashLoopBackOff|3 (2m5s ago)|2m30s|<none>|n1|<none>|<none>")]
    [InlineData("""{"phase":"Succeeded","containerStatuses":[{"name":"a","state":{"terminated":{"exitCode":0,"reason":"Completed"}}}]}""", "web|0/1|Completed|0|2m30s|<none>|n1|<none>|<none>")]
    [InlineData("""{"phase":"Pending","initContainerStatuses":[{"name":"i","state":{"running":{}}}]}""", "web|0/1|Init:0/1|0|2m30s|<none>|n1|<none>|<none>")]
    [InlineData("""{"phase":"Failed","containerStatuses":[{"name":"a","state":{"terminated":{"exitCode":7}}}]}""", "web|0/1|ExitCode:7|0|2m30s|<none>|n1|<none>|<none>")]
    public void A_pods_row_reads_as_in_kubectl(string status, string expected)
    {
        var pod = Json.Object("""{"metadata":{"name":"web","creationTimestamp":"2026-01-01T11:57:30Z"},"spec":{"nodeName":"n1","containers":[{"name":"a"}],"initContainers":[{"name":"i"}]}}""");
        pod["status"] = JsonNode.Parse(status);
        Assert.Equal(expected, Row(ResourceKind.Pod, pod));
        pod["metadata"]!["deletionTimestamp"] = "2026-01-01T12:00:00Z";
        if (pod.Text("status", "phase") is "Running")
            Assert.Contains("|Terminating|", Row(ResourceKind.Pod, pod), StringComparison.Ordinal);
    }

    [Fact]
    public void Wide_columns_have_priority_one_and_objects_are_included_as_asked()
    {
        var pod = Json.Object("""{"metadata":{"name":"web"},"spec":{}}""");
        var table = TableBuilder.Build(ResourceKind.Pod, null, [pod], s_now, "Metadata");
        Assert.Equal("Name:0 Ready:0 Status:0 Restarts:0 Age:0 IP:1 Node:1 Nominated Node:1 Readiness Gates:1", string.Join(' ', table.Items("columnDefinitions").Select(column => $"{column.Text("name")}:{column.Number(0, "priority")}")));
        Assert.Equal("PartialObjectMetadata", table["rows"]![0].Text("object", "kind"));
        Assert.Null(TableBuilder.Build(ResourceKind.Pod, null, [pod], s_now, "None")["rows"]![0]!["object"]);
    }

    [Theory]
    [InlineData("Node", """{"metadata":{"name":"n","creationTimestamp":"2026-01-01T11:00:00Z","labels":{"node-role.kubernetes.io/edge":""}},"spec":{"unschedulable":true},"status":{"conditions":[{"type":"Ready","status":"True"}],"nodeInfo":{"kubeletVersion":"v1"},"addresses":[{"type":"InternalIP","address":"1.2.3.4"}]}}""", "n|Ready,SchedulingDisabled|edge|60m|v1|1.2.3.4|<none>|<unknown>|<unknown>|<unknown>")]
    [InlineData("Service", """{"metadata":{"name":"s"},"spec":{"type":"NodePort","clusterIP":"10.0.0.9","ports":[{"port":80,"nodePort":30080,"protocol":"TCP"}],"selector":{"a":"b"}}}""", "s|NodePort|10.0.0.9|<none>|80:30080/TCP|<unknown>|a=b")]
    [InlineData("ConfigMap", """{"metadata":{"name":"c"},"data":{"a":"1"},"binaryData":{"b":""}}""", "c|2|<unknown>")]
    [InlineData("Endpoints", """{"metadata":{"name":"e"},"subsets":[{"addresses":[{"ip":"1.1.1.1"},{"ip":"1.1.1.2"},{"ip":"1.1.1.3"},{"ip":"1.1.1.4"}],"ports":[{"port":80}]}]}""", "e|1.1.1.1:80,1.1.1.2:80,1.1.1.3:80 + 1 more...|<unknown>")]
    [InlineData("Event", """{"metadata":{"name":"ev"},"type":"Normal","reason":"Pulled","message":"ok ","lastTimestamp":"2026-01-01T11:59:00Z","firstTimestamp":"2026-01-01T11:58:00Z","involvedObject":{"kind":"Pod","name":"web"},"source":{"component":"edged","host":"n"},"count":2}""", "60s|Normal|Pulled|pod/web||edged, n|ok|2m|2|ev")]
    public void Built_in_rows_read_as_in_kubectl(string kind, string obj, string expected)
        => Assert.Equal(expected, Row(new[] { ResourceKind.Node, ResourceKind.Service, ResourceKind.ConfigMap, ResourceKind.Endpoints, ResourceKind.Event }.Single(known => known.Kind == kind), Json.Object(obj)));

    [Fact]
    public void Custom_columns_follow_their_paths_and_types()
    {
        PrinterColumn[] columns =
        [
            new("Ready", "string", "", "", 0, """.status.conditions[?(@.type=="Ready")].status"""), new("First", "integer", "", "", 0, ".spec.list[0]"),
            new("Dotted", "string", "", "", 0, ".metadata.labels['a.b']"), new("Missing", "string", "", "", 0, ".spec.nothing"), new("Since", "date", "", "", 0, ".status.at"),
        ];
        var obj = Json.Object("""{"metadata":{"name":"x","labels":{"a.b":"c"}},"spec":{"list":[7]},"status":{"at":"2026-01-01T11:00:00Z","conditions":[{"type":"Other","status":"False"},{"type":"Ready","status":"True"}]}}""");
        Assert.Equal("x|True|7|c||60m", Row(ResourceKind.Device, obj, columns));
        Assert.Equal("x|30s", Row(ResourceKind.Device, Json.Object("""{"metadata":{"name":"x","creationTimestamp":"2026-01-01T11:59:30Z"}}""")));
    }

    private static string Row(ResourceKind kind, JsonObject obj, IReadOnlyList<PrinterColumn>? columns = null)
        => string.Join('|', TableBuilder.Build(kind, columns, [obj], s_now, "None")["rows"]![0]!["cells"]!.AsArray().Select(cell => cell?.ToString() ?? ""));
}
