using System.Diagnostics;
using System.Text.Json.Nodes;
using Edge.Cloud.Gslb.Module;
using Edge.Cloud.Tests.Support;
using Edge.Kubernetes;
using Edge.Protocol.Messages;
using Edge.Testing;
using Microsoft.Playwright;
using static Microsoft.Playwright.Assertions;

namespace Edge.Cloud.Dashboard.Tests;

/// <summary>The page in a real browser, over a whole cloudcore with its embedded API and an edge that speaks the protocol.</summary>
[Trait("Category", "Kubernetes")]
public sealed class PageTests(Browser browser) : IClassFixture<Browser>, IDisposable
{
    private static readonly long s_start = DateTimeOffset.UtcNow.ToUnixTimeMilliseconds() - 60_000;

    private readonly TempDirectory _data = new();

    public void Dispose() => _data.Dispose();

    [SkippableFact]
    public async Task Page_shows_nodes_and_devices_live_in_light_and_dark_without_an_error_or_a_request_off_the_origin()
    {
        Requires.Chromium();
        Requires.Dig();
        await using var cloud = await WholeCloud.StartAsync(_data.Path, WholeCloud.Options with { Gslb = new GslbOptions { IsEnabled = true, Address = "127.0.0.1", Port = 0, EcsResolvers = ["127.0.0.0/8"] } });
        await using var edge = await JoinAsync(cloud, "edge-1");
        await using var other = await JoinAsync(cloud, "press-hall-7");
        await CreateWorkAsync(cloud);
        await ReportAsync(edge, 21.5, 1);

        await using (var light = await browser.OpenAsync(cloud.Ports.Metrics, "/"))
        {
            var page = light.Page;
            await Expect(page.Locator(".tile").First).ToContainTextAsync("2");
            await Expect(page.Locator("#live")).ToContainTextAsync("live");
            await light.ShootAsync("overview-light", isWhole: true);

            await page.GetByRole(AriaRole.Link, new PageGetByRoleOptions { Name = "Nodes", Exact = true }).First.ClickAsync();
            var rows = page.Locator(".table .row");
            await Expect(rows).ToHaveCountAsync(2);
            await page.GetByLabel("Search nodes").FillAsync("press");
            await Expect(rows).ToHaveCountAsync(1);
            await Expect(rows).ToContainTextAsync("press-hall-7");
            await page.GetByLabel("Search nodes").FillAsync("nothing-like-it");
            await Expect(page.GetByText("No node matches")).ToBeVisibleAsync();
            await page.GetByLabel("Search nodes").FillAsync("edge-1");
            // What changes meanwhile draws the rows anew; the keyboard stays where it is.
            await page.Locator(".table .row a").FocusAsync();
            await page.EvaluateAsync("document.activeElement.closest('.row').dataset.old = '1'");
            await page.SetViewportSizeAsync(page.ViewportSize!.Width - 20, page.ViewportSize.Height);
            await Expect(page.Locator(".row[data-old]")).ToHaveCountAsync(0);
            await Expect(page.Locator(".table .row a")).ToBeFocusedAsync();
            await page.SetViewportSizeAsync(page.ViewportSize.Width + 20, page.ViewportSize.Height);
            await page.Locator(".table .row a").PressAsync("Enter");
            await Expect(page.GetByRole(AriaRole.Heading, new PageGetByRoleOptions { Name = "edge-1", Exact = true })).ToBeVisibleAsync();
            await Expect(page.Locator("main")).ToContainTextAsync("KubeEdge (stock)");
            await Expect(page.Locator("main")).ToContainTextAsync("from 127.0.0.1 over WebSocket");
            await Expect(page.Locator("main")).ToContainTextAsync("default/web");
            await light.ShootAsync("node-light", isWhole: true);

            await page.GetByRole(AriaRole.Link, new PageGetByRoleOptions { Name = "Devices", Exact = true }).First.ClickAsync();
            await page.Locator(".table .row a").First.ClickAsync();
            var value = page.Locator("[data-property=temperature] .reported");
            await Expect(value).ToHaveTextAsync("21.5");
            for (var i = 0; i < 12; i++)
            {
                await ReportAsync(edge, 22 + (i % 5) - (i * 0.25), i + 2);
                await Expect(value).ToHaveTextAsync(Text(22 + (i % 5) - (i * 0.25)));
            }

            await Expect(page.Locator(".chart .line")).ToHaveCountAsync(1);
            await light.ShootAsync("device-light", isWhole: true);

            await page.GetByRole(AriaRole.Button, new PageGetByRoleOptions { Name = "Switch to dark colours" }).ClickAsync();
            Assert.Equal("rgb(14, 20, 26)", await page.EvaluateAsync<string>("getComputedStyle(document.body).backgroundColor"));
            await page.ReloadAsync();
            Assert.Equal("rgb(14, 20, 26)", await page.EvaluateAsync<string>("getComputedStyle(document.body).backgroundColor"));
            Assert.Empty(light.Complaints);
        }

        await using (var dark = await browser.OpenAsync(cloud.Ports.Metrics, "/#/events", colours: ColorScheme.Dark))
        {
            Assert.Equal("rgb(14, 20, 26)", await dark.Page.EvaluateAsync<string>("getComputedStyle(document.body).backgroundColor"));
            await cloud.CreateAsync(ResourceKind.Event, """
                {"metadata":{"name":"a"},"involvedObject":{"kind":"Node","name":"edge-1"},"type":"Warning","reason":"Heat","message":"<b>the hall is hot</b>","lastTimestamp":"2026-01-02T03:04:05Z","count":3,"source":{"component":"test"}}
                """);
            // What others wrote is text and nothing else.
            await Expect(dark.Page.Locator(".event p", new PageLocatorOptions { HasText = "<b>the hall is hot</b>" })).ToBeVisibleAsync();
            await dark.ShootAsync("events-dark");
            await dark.Page.EvaluateAsync("location.hash = '/devices/default/thermo'");
            await Expect(dark.Page.Locator("[data-property=temperature] .reported")).ToBeVisibleAsync();
            await dark.ShootAsync("device-dark", isWhole: true);
            await dark.Page.EvaluateAsync("location.hash = '/services'");
            await Expect(dark.Page.Locator("main")).ToContainTextAsync("default/shop");
            await Expect(dark.Page.Locator("main")).ToContainTextAsync("Answered", new LocatorAssertionsToContainTextOptions { Timeout = 30_000 });
            for (var i = 1; i < 40; i++)
                await DigAsync(cloud.DnsPort, i % 3 == 0 ? $"198.51.100.{200 - i}/32" : i % 5 == 0 ? "192.0.2.0/24" : $"198.51.100.{i}/32");
            await Expect(dark.Page.Locator(".flow", new PageLocatorOptions { HasText = "DE/eu" })).ToContainTextAsync("fra-1");
            await Expect(dark.Page.Locator(".flow", new PageLocatorOptions { HasText = "US/us-east" })).ToContainTextAsync("iad-1");
            await dark.ShootAsync("services-dark", isWhole: true);
            Assert.Empty(dark.Complaints);
        }

        // The link of a node that goes is told, with the reason.
        await using (var phone = await browser.OpenAsync(cloud.Ports.Metrics, "/#/nodes/press-hall-7", width: 390, height: 844))
        {
            await Expect(phone.Page.Locator("main")).ToContainTextAsync("connected for");
            await other.DisposeAsync();
            await Expect(phone.Page.Locator("main")).ToContainTextAsync("Disconnected");
            await Expect(phone.Page.Locator("main")).ToContainTextAsync("Not connected to this cloudcore");
            foreach (var view in (string[])["/", "/nodes", "/nodes/edge-1", "/devices", "/devices/default/thermo", "/services", "/events"])
            {
                await phone.Page.EvaluateAsync($"location.hash = '{view}'");
                await Expect(phone.Page.Locator($"main[data-shown='{view}'] h1")).ToBeVisibleAsync();
                Assert.False(await phone.OverflowsAsync(), $"{view} is wider than a phone");
                await phone.ShootAsync("phone" + view.Replace('/', '-'), isWhole: true);
            }

            Assert.Empty(phone.Complaints);
        }

        using var http = new HttpClient();
        foreach (var path in (string[])["nodes", "nodes/edge-1", "devices", "devices/default/thermo", "events", "services", "overview"])
        {
            var text = await http.GetStringAsync($"http://127.0.0.1:{cloud.Ports.Metrics}/api/v1/{path}");
            Assert.DoesNotContain("hunter2", text, StringComparison.Ordinal);
            Assert.DoesNotContain("aHVudGVyMg", text, StringComparison.Ordinal);
        }
    }

    [SkippableFact]
    public async Task Map_and_list_hold_five_thousand_nodes()
    {
        Requires.Chromium();
        var kube = new FakeKube();
        await using var cloud = await Edge.Cloud.Tests.Support.Cloud.StartAsync(kube);
        var random = new Random(7);
        string[] groups = ["berlin", "hamburg", "münchen", "köln", "leipzig", "stuttgart", "bremen", "dresden"];
        for (var i = 0; i < 5000; i++)
            await cloud.CreateAsync(ResourceKind.Node, NodeOf(i, groups[random.Next(groups.Length)], random));
        await using (var light = await browser.OpenAsync(cloud.Host.MonitorPort, "/"))
        {
            await Expect(light.Page.Locator(".tile").First).ToContainTextAsync("5,000");
            await Expect(light.Page.Locator("canvas.map")).ToBeVisibleAsync();
            await light.ShootAsync("fleet-5000-light", isWhole: true);
            await light.Page.Locator("canvas.map").FocusAsync();
            await light.Page.Keyboard.PressAsync("ArrowRight");
            await light.Page.Keyboard.PressAsync("ArrowRight");
            var tip = await light.Page.Locator(".map-tip b").TextContentAsync();
            await light.ShootAsync("fleet-5000-selected");
            await light.Page.Keyboard.PressAsync("Enter");
            await Expect(light.Page.GetByRole(AriaRole.Heading, new PageGetByRoleOptions { Name = tip, Exact = true })).ToBeVisibleAsync();

            await light.Page.EvaluateAsync("location.hash = '/nodes'");
            await Expect(light.Page.Locator("main")).ToContainTextAsync("5,000 nodes");
            // Only what is in sight is in the document.
            Assert.InRange(await light.Page.Locator(".table .row").CountAsync(), 10, 120);
            await light.Page.Keyboard.PressAsync("Tab");
            await light.Page.GetByRole(AriaRole.Button, new PageGetByRoleOptions { Name = "Health" }).ClickAsync();
            await Expect(light.Page.Locator(".table .row").First).ToContainTextAsync("Offline");
            await light.ShootAsync("nodes-5000-light");
            await light.Page.GetByLabel("Search nodes").FillAsync("line=line-3 berlin");
            await Expect(light.Page.Locator("main")).ToContainTextAsync(" of 5,000 nodes");
            await light.Page.GetByLabel("Search nodes").FillAsync("edge-4999");
            await Expect(light.Page.Locator(".table .row")).ToHaveCountAsync(1);

            // A node that changes is told to a page that looks.
            var node = (await kube.TryGetAsync(ResourceKind.Node, null, "edge-4999", CancellationToken.None))!.DeepClone().AsObject();
            node["status"]!["conditions"]![0]!["status"] = "False";
            await kube.UpdateAsync(ResourceKind.Node, null, node, null, CancellationToken.None);
            await Expect(light.Page.Locator(".table .row")).ToContainTextAsync("Not ready");
            await kube.DeleteAsync(ResourceKind.Node, null, "edge-4999", null, CancellationToken.None);
            await Expect(light.Page.GetByText("No node matches")).ToBeVisibleAsync();
            Assert.Empty(light.Complaints);
        }

        await using var dark = await browser.OpenAsync(cloud.Host.MonitorPort, "/", width: 1360, colours: ColorScheme.Dark);
        await Expect(dark.Page.Locator(".tile").First).ToContainTextAsync("4,999");
        await dark.ShootAsync("fleet-5000-dark", isWhole: true);
    }

    [SkippableFact]
    public async Task Page_without_anything_to_show_says_how_to_begin()
    {
        Requires.Chromium();
        await using var cloud = await Edge.Cloud.Tests.Support.Cloud.StartAsync();
        await using var tab = await browser.OpenAsync(cloud.Host.MonitorPort, "/");
        await Expect(tab.Page.Locator("main")).ToContainTextAsync("No edge node has joined yet");
        await tab.ShootAsync("empty-light", isWhole: true);
        foreach (var (view, text) in ((string, string)[])[("/devices", "No devices yet"), ("/services", "No GlobalServices yet"), ("/events", "No events"), ("/nodes/none", "no such node"), ("/elsewhere", "no such page")])
        {
            await tab.Page.EvaluateAsync($"location.hash = '{view}'");
            await Expect(tab.Page.Locator("main")).ToContainTextAsync(text);
        }

        // A missing node is answered with 404, which Chromium itself writes into the console.
        Assert.All(tab.Complaints, one => Assert.Contains("404", one, StringComparison.Ordinal));
    }

    private static string Text(double value) => value.ToString(System.Globalization.CultureInfo.InvariantCulture);

    private static JsonObject NodeOf(int i, string group, Random random)
    {
        var dice = random.Next(100);
        return new JsonObject
        {
            ["metadata"] = new JsonObject
            {
                ["name"] = $"edge-{i:0000}",
                ["creationTimestamp"] = "2026-01-01T00:00:00Z",
                ["labels"] = new JsonObject { ["node-role.kubernetes.io/edge"] = "", ["apps.kubeedge.io/belonging-to"] = group, ["line"] = $"line-{random.Next(12)}" },
            },
            ["status"] = new JsonObject
            {
                ["conditions"] = new JsonArray(new JsonObject { ["type"] = "Ready", ["status"] = dice < 95 ? "True" : dice < 98 ? "False" : "Unknown", ["reason"] = dice < 95 ? "EdgeReady" : dice < 98 ? "ContainerRuntimeNotReady" : "NodeStatusUnknown" }),
                ["nodeInfo"] = new JsonObject { ["kubeletVersion"] = "v1.32.0-edge-0.1.0" },
            },
        };
    }

    private static async Task<FakeEdge> JoinAsync(WholeCloud cloud, string node)
    {
        using var certificate = await cloud.EnrolAsync(node);
        var edge = await FakeEdge.ConnectAsync(cloud.Ports.WebSocket, node, certificate);
        var answer = await edge.AskAsync("insert", $"null/node/{node}", Edge.Cloud.Tests.Support.Cloud.NodeOf(node));
        Assert.Equal(node, answer.Text("Object", "metadata", "name"));
        return edge;
    }

    private static async Task CreateWorkAsync(WholeCloud cloud)
    {
        await cloud.CreateAsync(ResourceKind.Secret, """{"metadata":{"name":"cred"},"stringData":{"password":"hunter2"}}""");
        await cloud.CreateAsync(ResourceKind.Pod, """
            {"metadata": {"name": "web"}, "spec": {"nodeName": "edge-1", "containers": [{"name": "main", "image": "busybox", "env": [{"name": "P", "value": "hunter2"}], "envFrom": [{"secretRef": {"name": "cred"}}]}]}}
            """);
        await cloud.CreateAsync(ResourceKind.DeviceModel, """
            {"metadata": {"name": "thermostat"}, "spec": {"properties": [{"name": "temperature", "type": "FLOAT", "accessMode": "ReadOnly"}, {"name": "setpoint", "type": "FLOAT", "accessMode": "ReadWrite"}, {"name": "mode", "type": "STRING", "accessMode": "ReadWrite"}]}}
            """);
        await cloud.CreateAsync(ResourceKind.Device, """
            {
              "metadata": {"name": "thermo"},
              "spec": {"nodeName": "edge-1", "deviceModelRef": {"name": "thermostat"}, "protocol": {"protocolName": "modbus", "configData": {"password": "hunter2"}},
                "properties": [{"name": "temperature"}, {"name": "setpoint", "desired": {"value": "23.5"}}, {"name": "mode", "desired": {"value": "eco"}}]}
            }
            """);
        await cloud.CreateAsync(GlobalServices.Resources.GslbKinds.Zone, """
            {"metadata": {"name": "edge-example"}, "spec": {"apex": "edge.example", "soa": {"mailbox": "admin"}, "nameServers": ["ns1"], "records": [{"name": "ns1", "type": "A", "data": ["192.0.2.53"]}]}}
            """);
        await cloud.CreateAsync(GlobalServices.Resources.GslbKinds.LocationMap, """
            {"metadata": {"name": "offices"}, "spec": {"locations": [
              {"country": "DE", "region": "eu", "site": "fra", "latitude": 50.11, "longitude": 8.68, "networks": ["198.51.100.0/25"]},
              {"country": "US", "region": "us-east", "site": "iad", "latitude": 38.9, "longitude": -77.4, "networks": ["198.51.100.128/25"]}]}}
            """);
        await cloud.CreateAsync(GlobalServices.Resources.GslbKinds.GlobalService, """
            {
              "metadata": {"name": "shop"},
              "spec": {"hosts": ["shop.edge.example"], "policy": {"type": "nearest", "by": "region", "then": {"type": "weighted"}}, "endpoints": [
                {"name": "fra-1", "addresses": ["192.0.2.1"], "weight": 3, "location": {"country": "DE", "region": "eu", "site": "fra", "latitude": 50.11, "longitude": 8.68}},
                {"name": "iad-1", "addresses": ["192.0.2.3"], "location": {"country": "US", "region": "us-east", "site": "iad", "latitude": 38.9, "longitude": -77.4}}]}
            }
            """);
    }

    private static async Task DigAsync(int port, string subnet)
    {
        using var dig = Process.Start(new ProcessStartInfo("dig", ["@127.0.0.1", "-p", Text(port), "shop.edge.example", "A", $"+subnet={subnet}", "+short", "+tries=3"]) { RedirectStandardOutput = true })!;
        var answer = await dig.StandardOutput.ReadToEndAsync();
        await dig.WaitForExitAsync();
        Assert.StartsWith("192.0.2.", answer, StringComparison.Ordinal);
    }

    private static async Task ReportAsync(FakeEdge edge, double temperature, long turn)
    {
        var now = s_start + (turn * 2000);
        JsonObject Side(string value, string type) => new()
        {
            ["actual"] = new JsonObject { ["value"] = value, ["metadata"] = new JsonObject { ["timestamp"] = now } }, ["metadata"] = new JsonObject { ["type"] = type },
        };
        await edge.SendAsync(Sources.Twin, Groups.Resource, Operations.Update, "device/default/thermo/twin/edge_updated", new JsonObject
        {
            ["event_id"] = Text(turn), ["timestamp"] = now, ["twin"] = new JsonObject { ["temperature"] = Side(Text(temperature), "float"), ["setpoint"] = Side("23.5", "float") },
        });
    }
}
