import type { Element } from "@xmldom/xmldom";

/** What the thread is given, and what it says to the main thread. */
export interface WsdlThreadData {
  readonly text: string;
  readonly url: string;
  /** Where the modules are: the thread is started from text and has no place of its own to look from. */
  readonly modules: { readonly soap: string; readonly xmldom: string };
}

export type FetchAnswer =
  | { readonly ok: true; readonly text: string }
  | { readonly ok: false; readonly reason: string };

/**
 * Reads a WSDL inside a thread of its own, so that one made to hang, to eat memory or to crash the parser (a few lines
 * of nested groups suffice) ends that thread and nothing else. Node is handed this function as text: it may use nothing
 * but its argument.
 */
export function readWsdlInThread(load: NodeJS.Require): void {
  const { parentPort, workerData } = load("node:worker_threads") as typeof import("node:worker_threads");
  const { text, url, modules } = workerData as WsdlThreadData;
  const { WSDL } = load(modules.soap) as typeof import("soap/lib/wsdl/index.js");
  const { DOMParser } = load(modules.xmldom) as typeof import("@xmldom/xmldom");
  if (parentPort === null) return;
  const mainThread = parentPort;
  type Wsdl = InstanceType<typeof WSDL>;

  const wsdlNamespace = "http://schemas.xmlsoap.org/wsdl/";
  const methods = new Map([
    [`${wsdlNamespace}soap/`, "soap11"],
    [`${wsdlNamespace}soap12/`, "soap12"],
  ]);
  const envelopes: Readonly<Record<string, string>> = {
    soap11: "http://schemas.xmlsoap.org/soap/envelope/",
    soap12: "http://www.w3.org/2003/05/soap-envelope",
  };
  // No element can be called this.
  const attributesKey = "@attributes";
  const texts = [text];

  /** The parser's only way to other documents: the main thread, where the guard is. */
  const httpClient = {
    request(location: string, _data: unknown, done: (error: Error | null, response?: object, body?: string) => void) {
      mainThread.once("message", (answer: FetchAnswer) => {
        if (!answer.ok) return done(new Error(answer.reason));
        texts.push(answer.text);
        done(null, { status: 200 }, answer.text);
      });
      mainThread.postMessage({ kind: "fetch", url: location });
    },
  };
  // Without this the parser would take other locations for files of ours, or for documents.
  const overrideImportLocation = (location: string) => {
    if (/^https?:\/\//i.test(location)) return location;
    throw new Error(`It includes ${location}, which is not an http or https address.`);
  };

  const children = (parent: Element, localName: string, namespace: (uri: string) => boolean) =>
    [...parent.childNodes].filter(
      (node): node is Element =>
        node.nodeType === 1 && (node as Element).localName === localName && namespace(node.namespaceURI ?? ""),
    );
  const isWsdl = (uri: string) => uri === wsdlNamespace;
  const isSoap = (uri: string) => methods.has(uri);
  const localPart = (name: string | null) => (name ?? "").replace(/^.*:/, "");

  /** Which SOAP version, address and action each operation has: the parser drops the namespaces that say so. */
  const findOperations = () => {
    const roots = texts.map((xml) => new DOMParser({ onError: () => undefined }).parseFromString(xml, "text/xml"));
    const all = (name: string) => roots.flatMap((root) => [...root.getElementsByTagNameNS(wsdlNamespace, name)]);
    const bindings = new Map(all("binding").map((binding) => [binding.getAttribute("name") ?? "", binding]));
    return all("port").flatMap((port) => {
      const [address] = children(port, "address", isSoap);
      const binding = bindings.get(localPart(port.getAttribute("binding")));
      if (address === undefined || binding === undefined) return [];
      return children(binding, "operation", isWsdl).map((operation) => ({
        service: (port.parentNode as Element).getAttribute("name") ?? "",
        port: port.getAttribute("name") ?? "",
        name: operation.getAttribute("name") ?? "",
        method: methods.get(address.namespaceURI ?? "") ?? "",
        action: children(operation, "operation", isSoap)[0]?.getAttribute("soapAction") ?? "",
        url: address.getAttribute("location") ?? "",
      }));
    });
  };

  const placeholder = (element: string) => `{{ lead.${element.replace(/[^A-Za-z0-9_]/g, "_")} }}`;
  const maxElements = 2_000;

  /** Attributes that must be there: the parser keeps them beside the elements, under a symbol. */
  const sampleAttributes = (description: object): Record<string, unknown> => {
    const [symbol] = Object.getOwnPropertySymbols(description);
    const attributes = Object.entries((symbol && Reflect.get(description, symbol)) ?? {});
    const required = attributes.filter(([, attribute]) => Reflect.get(Object(attribute), "required") === true);
    if (required.length === 0) return {};
    return { [attributesKey]: Object.fromEntries(required.map(([name]) => [name, placeholder(name)])) };
  };

  /** One of everything that the schema has a place for, but for a type inside itself. */
  const sampleOf = (
    description: unknown,
    element: string,
    budget: { left: number },
    inside: object[] = [],
  ): unknown => {
    if (typeof description !== "object" || description === null) return placeholder(element);
    const sample = sampleAttributes(description);
    const path = [...inside, description];
    for (const [key, value] of Object.entries(description)) {
      if (key === "targetNSAlias" || key === "targetNamespace" || path.includes(value)) continue;
      budget.left -= 1;
      const name = key.replace(/\[\]$/, "");
      if (budget.left > 0) sample[name] = sampleOf(value, name, budget, path);
    }
    return sample;
  };

  /** The parts of an RPC message are either names of types or the parser's own objects for them. */
  const sampleOfParts = (wsdl: Wsdl, parts: object, budget: { left: number }) =>
    Object.fromEntries(
      Object.entries(parts).map(([name, part]) => {
        const described = typeof part?.description === "function" ? part.description(wsdl.definitions) : part;
        return [name, sampleOf(described, name, budget)];
      }),
    );

  const messageOf = (wsdl: Wsdl, operation: { service: string; port: string; name: string }): string => {
    const { definitions } = wsdl;
    const method = definitions.services[operation.service]?.ports[operation.port]?.binding.methods[operation.name];
    const input = method?.input as unknown as Record<string, never> | undefined;
    if (method === undefined || input === undefined) return "";
    const budget = { left: maxElements };
    if (method.style === "rpc") {
      const namespace = definitions.$targetNamespace ?? "";
      const [prefix = ""] = Object.entries(definitions.xmlns ?? {}).find(([, uri]) => uri === namespace) ?? [];
      const sample = sampleOfParts(wsdl, input.parts ?? {}, budget);
      return wsdl.objectToRpcXML(operation.name, sample, prefix, namespace, true);
    }
    const described: unknown = (
      wsdl.describeServices() as Record<string, Record<string, Record<string, { input: unknown }>>>
    )[operation.service]?.[operation.port]?.[operation.name]?.input;
    const sample = sampleOf(described, operation.name, budget);
    const { $name, targetNSAlias, targetNamespace, $type, $lookupType } = input;
    return wsdl.objectToDocumentXML(
      $name ?? operation.name,
      sample,
      targetNSAlias ?? "",
      targetNamespace,
      $type ?? $lookupType,
    );
  };

  const envelopeOf = (wsdl: Wsdl, method: string, message: string): string => {
    const declared = [...(wsdl.xmlnsInEnvelope ?? "").matchAll(/ xmlns:([^=\s]+)="([^"<&]*)"/g)];
    const used = declared.filter(([, prefix]) => message.includes(`<${prefix}:`)).map(([attribute]) => attribute);
    const open = `<soap:Envelope xmlns:soap="${envelopes[method]}"${used.join("")}>`;
    return `<?xml version="1.0" encoding="utf-8"?>${open}<soap:Body>${message}</soap:Body></soap:Envelope>`;
  };

  const failed = (error: unknown) => {
    mainThread.postMessage({ kind: "failed", reason: error instanceof Error ? error.message : String(error) });
    mainThread.close();
  };

  const wsdl = new WSDL(text, url, { httpClient, wsdl_options: { overrideImportLocation } } as never);
  wsdl.options.attributesKey = attributesKey;
  wsdl.onReady((error) => {
    if (error) return failed(error);
    try {
      const operations = findOperations().map(({ service, port, ...operation }) => {
        const message = messageOf(wsdl, { service, port, name: operation.name });
        return { ...operation, body: envelopeOf(wsdl, operation.method, message) };
      });
      mainThread.postMessage({ kind: "operations", operations });
      mainThread.close();
    } catch (caught) {
      failed(caught);
    }
  });
}
