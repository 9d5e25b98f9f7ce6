# One image for every part; the command says which: api, worker, migrate, or the demo receivers (see docker-compose.yml).
FROM node:22-slim AS build
WORKDIR /handoff
COPY package.json package-lock.json .npmrc ./
RUN npm ci --ignore-scripts
COPY . .
RUN npm run build

FROM node:22-slim AS packages
WORKDIR /handoff
COPY package.json package-lock.json .npmrc ./
# Without optional packages there is no embedded PostgreSQL: containers have DATABASE_URL.
RUN npm ci --omit=dev --omit=optional --ignore-scripts

FROM node:22-slim
ENV NODE_ENV=production HOST=0.0.0.0 PORT=3000 DATA_DIR=/data
WORKDIR /handoff
COPY --from=packages /handoff/node_modules ./node_modules
COPY --from=build /handoff/dist ./dist
COPY package.json LICENSE ./
# Text that is read at run time, from the project's root.
COPY src/db/migrations ./src/db/migrations
COPY demo/lead-service.wsdl ./demo/lead-service.wsdl
COPY templates ./templates
COPY samples ./samples
RUN mkdir /data && chown node:node /data
USER node
VOLUME /data
EXPOSE 3000
ENTRYPOINT ["node", "dist/src/cli.js"]
CMD ["api"]
